import { Denied } from './api.ts';
import { s } from './strings.ts';

/** Says, for people, why something that they asked for was not done. */
export function said(reason: unknown): string {
  if (!(reason instanceof Denied)) return s.failure.odd(String(reason));
  switch (reason.status) {
    case 0:
      return s.failure.silent;
    case 401:
      return s.failure.token;
    case 403:
      return s.failure.forbidden(reason.message);
    default:
      return s.failure.told(reason.message);
  }
}
