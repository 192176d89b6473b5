export { signToken } from '../access/sign-token.js';
