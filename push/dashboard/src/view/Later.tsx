import { useSignal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { s } from '../strings.ts';

interface Props {
  /** Called once. */
  load: () => Promise<ComponentType>;
}

/** A page whose code comes when it is first wanted: the list, which is seen first, needs none of it. */
export function Later({ load }: Props) {
  const page = useSignal<{ Page: ComponentType } | null>(null);
  const failed = useSignal(false);
  useEffect(() => {
    load().then(
      (Page) => (page.value = { Page }),
      () => (failed.value = true),
    );
  }, []);
  if (failed.value) return <p class="note">{s.device.notLoaded}</p>;
  if (!page.value) return <p class="connecting">{s.connecting}</p>;
  const { Page } = page.value;
  return <Page />;
}

export async function loadDevicePage(id: string): Promise<ComponentType> {
  const { DevicePage } = await import('./DevicePage.tsx');
  return () => <DevicePage id={id} />;
}

export async function loadAccessPage(): Promise<ComponentType> {
  return (await import('./AccessPage.tsx')).AccessPage;
}
