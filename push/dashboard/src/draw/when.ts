// Times in the local form, as closely as they are looked at.

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

type Form = Intl.DateTimeFormatOptions;
const forms = new Map<Form, Intl.DateTimeFormat>();

function form(options: Form): Intl.DateTimeFormat {
  let f = forms.get(options);
  if (!f) {
    f = new Intl.DateTimeFormat(undefined, options);
    forms.set(options, f);
  }
  return f;
}

/** "6:05 AM", but "06:05". */
const is12 = new Intl.DateTimeFormat(undefined, { hour: 'numeric' }).resolvedOptions().hour12;

const hm: Form = { hour: is12 ? 'numeric' : '2-digit', minute: '2-digit' };
const hms: Form = { ...hm, second: '2-digit' };
const hmsMs: Form = { ...hms, fractionalSecondDigits: 3 };
const date: Form = { weekday: 'short', day: 'numeric', month: 'short' };
const dateYear: Form = { day: 'numeric', month: 'short', year: 'numeric' };
const dayMonth: Form = { day: 'numeric', month: 'short' };
const month: Form = { month: 'short' };
const monthYear: Form = { month: 'short', year: 'numeric' };
const year: Form = { year: 'numeric' };

const dateHM: Form = { ...date, ...hm };
const dateHMS: Form = { ...date, ...hms };
const dateYearHM: Form = { ...dateYear, ...hm };
const dateYearHMS: Form = { ...dateYear, ...hms };
const dateYearHMSMs: Form = { ...dateYear, ...hmsMs };

/** Time of day with seconds. */
export function clock(ms: number): string {
  return form(hms).format(ms);
}

/** Labels of marks on a time axis that are so far apart: where a day or year begins, that is said. */
export function marks(at: readonly number[], apart: number): string[] {
  return at.map((t) => {
    const d = new Date(t);
    if (apart < second) return form(hmsMs).format(t);
    if (apart < minute) return form(hms).format(t);
    if (apart < day) return d.getHours() === 0 && d.getMinutes() === 0 ? form(dayMonth).format(t) : form(hm).format(t);
    if (apart < 27 * day) return form(dayMonth).format(t);
    if (apart < 360 * day) return form(d.getMonth() === 0 ? monthYear : month).format(t);
    return form(year).format(t);
  });
}

/** One moment of a stretch so long: its date only where the day is not plain. */
export function moment(ms: number, length: number): string {
  if (length <= 10 * second) return form(hmsMs).format(ms);
  if (length <= hour) return form(hms).format(ms);
  return form(length <= 300 * day ? dateHM : dateYearHM).format(ms);
}

/** A moment in the past: its date only where it is not plain. */
export function past(ms: number, now: number): string {
  return moment(ms, Math.max(minute, now - ms));
}

/** From when to when a bucket reaches, in a picture of a stretch so long. */
export function bucket(begin: number, end: number, length: number): string {
  const size = end - begin;
  if (size < second) return form(hmsMs).formatRange(begin, end);
  if (size < minute) return form(length <= day ? hms : dateHMS).formatRange(begin, end);
  if (size < day) return form(length <= 20 * hour ? hm : dateHM).formatRange(begin, end);
  return size <= day ? form(dateHM).formatRange(begin, end) : form(dateYear).formatRange(begin, end);
}

/** From when to when the charts reach. */
export function stretch(from: number, to: number): string {
  const length = to - from;
  if (length <= 10 * second) return form(dateYearHMSMs).formatRange(from, to);
  if (length <= 5 * minute) return form(dateYearHMS).formatRange(from, to);
  if (length <= 60 * day) return form(dateYearHM).formatRange(from, to);
  return form(dateYear).formatRange(from, to);
}
