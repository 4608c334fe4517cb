import { useSignal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { s } from '../strings.ts';

type Page = ComponentType<{ id: string }>;

/** The page of a device, whose code comes when it is first wanted: charts are the larger half of it all. */
export function Later({ id }: { id: string }) {
  const page = useSignal<{ Page: Page } | null>(null);
  const failed = useSignal(false);
  useEffect(() => {
    import('./DevicePage.tsx').then(
      ({ DevicePage }) => (page.value = { Page: DevicePage }),
      () => (failed.value = true),
    );
  }, []);
  if (failed.value) return <p class="note">{s.device.noCharts}</p>;
  if (!page.value) return <p class="connecting">{s.connecting}</p>;
  const { Page } = page.value;
  return <Page id={id} />;
}
