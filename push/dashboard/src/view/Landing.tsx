/** The river with its far shore and the landing, below the empty page. */
export function Landing() {
  return (
    <svg class="landing" viewBox="0 0 1200 220" preserveAspectRatio="xMidYMax slice" aria-hidden="true">
      <path class="far" d="M0 120c140-60 230-40 340-58s170-52 280-30 150 62 270 50 190-44 310-12v150H0Z" />
      <path class="near" d="M0 150c180-34 300-8 450-20s240-28 390-14 240 22 360 8v96H0Z" />
      <path class="pier" d="M760 172h190M790 172v34M850 172v34M910 172v34M905 172v-30l14 0" />
      <path class="ripple" d="M60 182h220M330 194h150M520 180h120M120 206h90M640 208h80M980 190h160M1010 206h70" />
      <path class="boat" d="M560 190h92c-6 15-20 22-46 22s-40-7-46-22Z" />
      <circle class="lamp" cx="921" cy="147" r="6" />
    </svg>
  );
}
