import { useSignal } from '@preact/signals';
import { login } from '../api.ts';
import { s } from '../strings.ts';
import { Icon } from './Icon.tsx';

/** Why a token was not taken, for people. */
function refusal(status: number): string {
  switch (status) {
    case 0:
      return s.login.silent;
    case 401:
      return s.login.wrong;
    case 403:
      return s.login.forbidden;
    case 429:
      return s.login.throttled;
    default:
      return s.login.odd(status);
  }
}

/** The same page again with the session that there is now; a token in its address would go before that. */
function again(): void {
  const url = new URL(location.href);
  url.searchParams.delete('token');
  history.replaceState(null, '', url);
  location.reload();
}

/** Asks for an access token, and comes back to where the page was. */
export function LoginForm() {
  const busy = useSignal(false);
  const problem = useSignal('');
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (busy.peek()) return;
    const form = event.currentTarget as HTMLFormElement;
    busy.value = true;
    problem.value = '';
    const status = await login(String(new FormData(form).get('token') ?? '').trim());
    busy.value = false;
    if (status === 303) again();
    else problem.value = refusal(status);
  };
  return (
    <section class="login">
      <h1>{s.login.title}</h1>
      <p>{s.login.text}</p>
      <form onSubmit={(e) => void submit(e)}>
        <label for="token">{s.login.label}</label>
        <input id="token" name="token" type="password" autocomplete="current-password" required autofocus aria-describedby="login-problem" />
        <button class="button primary" type="submit" aria-disabled={busy}>
          {s.login.open}
        </button>
      </form>
      <div id="login-problem" role="alert">
        {problem.value !== '' && (
          <p class="problem">
            <Icon name="warning" />
            <span>{problem}</span>
          </p>
        )}
      </div>
    </section>
  );
}
