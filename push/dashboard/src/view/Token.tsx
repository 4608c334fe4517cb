import { s } from '../strings.ts';

/** Asks for the access token and opens the page with it. */
export function TokenForm() {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget as HTMLFormElement).get('token') ?? '').trim();
    if (token === '') return;
    const url = new URL(location.href);
    url.searchParams.set('token', token);
    location.assign(url);
  };
  return (
    <section class="token">
      <h1>{s.token.title}</h1>
      <p>{s.token.text}</p>
      <form onSubmit={submit}>
        <label for="token">{s.token.label}</label>
        <input id="token" name="token" type="password" autocomplete="off" required />
        <button class="button primary" type="submit">
          {s.token.open}
        </button>
      </form>
    </section>
  );
}
