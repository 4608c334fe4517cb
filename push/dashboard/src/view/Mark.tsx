/** A ferry at its landing, under the sun. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <circle class="mark-sun" cx="16" cy="10.5" r="5.5" />
      <path class="mark-boat" d="M5 17.5h22c-1.6 4.3-5.4 6.5-11 6.5S6.6 21.8 5 17.5Z" />
      <path class="mark-wave" d="M3 28c2.2 0 2.2-1.6 4.3-1.6S9.5 28 11.7 28s2.2-1.6 4.3-1.6 2.2 1.6 4.3 1.6 2.2-1.6 4.3-1.6S26.8 28 29 28" />
    </svg>
  );
}

/** 나루, a ferry landing, as lines: few systems without Korean have the letters. */
export function Hangul() {
  return (
    <svg class="hangul" viewBox="0 0 46 22" aria-hidden="true">
      <path d="M2.5 3v13h8M15 1.5v19M15 10.5h4.5" />
      <path d="M27 2.5h15v4.8H27.5v4.9H42.5M24.5 16h20M34.5 16v5" />
    </svg>
  );
}
