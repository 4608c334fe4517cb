import { useSignal } from '@preact/signals';
import { about, grants, qrOf, roles, type Role } from '../api.ts';
import { dialog } from '../app.ts';
import { addressFor, linkOf, wishOf } from '../data/grant.ts';
import { s } from '../strings.ts';
import { Sheet } from './Dialog.tsx';
import { GivenDialog } from './Given.tsx';
import { Problem, useDoing } from './useDoing.tsx';

/** Makes an access token, which is then shown once. done is called when there is one more. */
export function GiveDialog({ done }: { done: () => void }) {
  const doing = useDoing();
  const role = useSignal<Role>('viewer');
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const read = (name: string): string => String(form.get(name) ?? '');
    void doing.run(async () => {
      const known = await about().catch(() => null); // before the token is made, which cannot be asked for again
      const made = await grants.make(wishOf(read('name'), role.peek(), read('devices'), read('ttl')));
      done();
      const address = addressFor(document.baseURI, known);
      const qr = made.role === 'writer' ? null : await qrOf(linkOf(address, made.token)).catch(() => null);
      dialog.value = { kind: 'later', View: () => <GivenDialog given={{ made, address, qr }} />, once: true };
    });
  };
  const isAdmin = role.value === 'admin';
  return (
    <Sheet title={s.grants.add.replace('…', '')} kind="give">
      <form class="fields" onSubmit={submit}>
        <div>
          <label>
            <span>{s.grants.name}</span>
            <input name="name" required autofocus maxLength={64} pattern=".*\S.*" autocomplete="off" aria-describedby="give-name-hint" />
          </label>
          <p id="give-name-hint" class="note">
            {s.grants.nameHint}
          </p>
        </div>
        <fieldset class="choices">
          <legend>{s.grants.role}</legend>
          {roles.map((r) => (
            <label key={r}>
              <input type="radio" name="role" value={r} checked={role.value === r} onClick={() => (role.value = r)} />
              <span>
                <strong>{s.grants.roles[r]}</strong> {s.grants.what[r]}
              </span>
            </label>
          ))}
        </fieldset>
        <div>
          <label>
            <span>{s.grants.devices}</span>
            <input name="devices" disabled={isAdmin} placeholder={s.grants.all} autocomplete="off" autocapitalize="off" spellcheck={false} aria-describedby="give-devices-hint" />
          </label>
          <p id="give-devices-hint" class="note">
            {isAdmin ? s.grants.devicesAdmin : s.grants.devicesHint}
          </p>
        </div>
        <label>
          <span>{s.grants.ttl}</span>
          <select name="ttl">
            {s.grants.ttls.map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <Problem of={doing} />
        <div class="answers">
          <button class="button" type="button" onClick={() => (dialog.value = null)}>
            {s.cancel}
          </button>
          <button class="button primary" type="submit" aria-disabled={doing.busy}>
            {s.grants.act}
          </button>
        </div>
      </form>
    </Sheet>
  );
}
