import { registrar, type Waiting, type Wish } from '../api.ts';
import { dialog } from '../app.ts';
import { decided } from '../lobby.ts';
import { s } from '../strings.ts';
import { Sheet } from './Dialog.tsx';
import { Icon } from './Icon.tsx';
import { Problem, useDoing } from './useDoing.tsx';

export const kinds = ['psk', 'token'] as const;

export function AddButton() {
  return (
    <button class="button" type="button" aria-haspopup="dialog" onClick={() => (dialog.value = { kind: 'add' })}>
      <Icon name="plus" />
      {s.add.title}
    </button>
  );
}

/** Registers a device with a secret: one that waits, or any. */
export function AddDialog({ device }: { device: Waiting | null }) {
  const doing = useDoing();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const read = (name: string): string => String(form.get(name) ?? '').trim();
    const id = device?.id ?? read('id');
    const wish: Wish = { name: read('name'), [read('kind')]: true };
    void doing.run(async () => {
      const made = await registrar.register(id, wish);
      decided(id);
      dialog.value = { kind: 'secret', made };
    });
  };
  return (
    <Sheet title={device ? s.add.admitTitle(device.id) : s.add.title} kind="add">
      <p>{device ? s.add.admitLead : s.add.lead}</p>
      <form class="fields" onSubmit={submit}>
        {!device && (
          <div>
            <label>
              <span>{s.add.id}</span>
              <input
                name="id"
                required
                autofocus
                autocomplete="off"
                autocapitalize="off"
                spellcheck={false}
                maxLength={64}
                pattern="[A-Za-z0-9._:\-]+"
                title={s.add.idHint}
                aria-describedby="id-hint"
              />
            </label>
            <p id="id-hint" class="note">
              {s.add.idHint}
            </p>
          </div>
        )}
        <label>
          <span>{s.add.name}</span>
          <input name="name" autocomplete="off" maxLength={64} autofocus={device !== null} />
        </label>
        <fieldset class="choices">
          <legend>{s.add.secret}</legend>
          {kinds.map((kind, i) => (
            <label key={kind}>
              <input type="radio" name="kind" value={kind} defaultChecked={i === 0} />
              <span>
                <strong>{s.kinds[kind].name}</strong> {s.kinds[kind].what}
              </span>
            </label>
          ))}
        </fieldset>
        <Problem of={doing} />
        <div class="answers">
          <button class="button" type="button" onClick={() => (dialog.value = null)}>
            {s.cancel}
          </button>
          <button class="button primary" type="submit" aria-disabled={doing.busy}>
            {s.add.act}
          </button>
        </div>
      </form>
    </Sheet>
  );
}
