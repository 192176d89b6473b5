import { SignJWT } from 'jose';

const LIFE = '30d';

/** An HS256 token for a user, valid for 30 days. */
export async function signToken(
  secret: string,
  userId: string,
  claims: { issuer?: string | undefined; audience?: string | undefined } = {},
): Promise<string> {
  const token = new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(userId)
    .setIssuedAt()
    .setExpirationTime(LIFE);
  if (claims.issuer !== undefined) token.setIssuer(claims.issuer);
  if (claims.audience !== undefined) token.setAudience(claims.audience);
  return await token.sign(new TextEncoder().encode(secret));
}
