import { SignJWT } from 'jose';

const DEFAULT_LIFE = '30d';

export interface TokenClaims {
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  /** The claim that names the user; `sub` by default. */
  readonly userClaim?: string | undefined;
  /** How long the token is valid, as jose reads it: `1h`, `30 minutes`. 30 days by default. */
  readonly expiresIn?: string | undefined;
}

/** An HS256 token for a user. */
export async function signToken(secret: string, userId: string, claims: TokenClaims = {}): Promise<string> {
  const { issuer, audience, userClaim = 'sub', expiresIn = DEFAULT_LIFE } = claims;
  const token = new SignJWT({ [userClaim]: userId })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuedAt()
    .setExpirationTime(expiresIn);
  if (issuer !== undefined) token.setIssuer(issuer);
  if (audience !== undefined) token.setAudience(audience);
  return await token.sign(new TextEncoder().encode(secret));
}
