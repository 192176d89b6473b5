export { signToken } from '../auth/sign-token.js';
