import { dialog, type Question } from '../app.ts';
import { s } from '../strings.ts';
import { Sheet } from './Dialog.tsx';
import { Problem, useDoing } from './useDoing.tsx';

/** Asks before something that cannot be taken back. The way out has the focus. */
export function AskDialog({ question }: { question: Question }) {
  const doing = useDoing();
  const act = (): Promise<void> =>
    doing.run(async () => {
      await question.run();
      dialog.value = null;
    });
  return (
    <Sheet title={question.title} kind="ask">
      <p>{question.text}</p>
      <Problem of={doing} />
      <div class="answers">
        <button class="button" type="button" autofocus onClick={() => (dialog.value = null)}>
          {s.cancel}
        </button>
        <button class="button danger" type="button" aria-disabled={doing.busy} onClick={() => void act()}>
          {question.act}
        </button>
      </div>
    </Sheet>
  );
}
