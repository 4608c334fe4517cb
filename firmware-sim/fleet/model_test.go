package fleet

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

var noon = device.TimeOf(time.Date(2026, time.March, 20, 12, 0, 0, 0, time.UTC))

func mustVirtual(t testing.TB, seed uint64, i int, kinds ...string) *virtual {
	t.Helper()
	v, err := newVirtual(seed, i, kinds)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func everything(v *virtual, at device.Time) string {
	m := wire.Message{Device: []byte(v.id), Time: wire.Time{Int: int64(at) / 1000, Set: true}, Fields: v.all(nil, at)}
	return string(wire.AppendJSON(nil, &m))
}

// TestModelGolden holds what every device of the roster shows at some moments.
func TestModelGolden(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	for i := range roster {
		v := mustVirtual(t, 1, i)
		for _, at := range []device.Time{noon, noon.Add(time.Minute), noon.Add(7 * time.Hour), noon.Add(100 * day)} {
			got.WriteString(everything(v, at) + "\n")
		}
	}
	path := filepath.Join("testdata", "model.golden")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("the model has changed; if that is intended, run go test -update (-want +got):\n%s", diff)
	}
}

// TestModelIsPure asks two models in different orders and expects one answer.
func TestModelIsPure(t *testing.T) {
	t.Parallel()
	for i := range roster {
		a, b := mustVirtual(t, 7, i), mustVirtual(t, 7, i)
		const steps = 50
		var forward, backward [steps]string
		for n := range steps {
			forward[n] = everything(a, noon.Add(time.Duration(n)*17*time.Minute))
			k := steps - 1 - n
			backward[k] = everything(b, noon.Add(time.Duration(k)*17*time.Minute))
		}
		if diff := cmp.Diff(forward, backward); diff != "" {
			t.Errorf("%s: %s", a.id, diff)
		}
	}
}

func TestModelDependsOnSeedAndName(t *testing.T) {
	t.Parallel()
	a, b, c := mustVirtual(t, 1, 1), mustVirtual(t, 2, 1), mustVirtual(t, 1, 7)
	if a.id != "room-kitchen" || b.id != a.id || c.id != "room-living" {
		t.Fatalf("devices %q, %q, %q", a.id, b.id, c.id)
	}
	if everything(a, noon) == everything(b, noon) {
		t.Error("two seeds give the same readings")
	}
	if string(wire.AppendJSON(nil, &wire.Message{Fields: a.all(nil, noon)})) ==
		string(wire.AppendJSON(nil, &wire.Message{Fields: c.all(nil, noon)})) {
		t.Error("two devices give the same readings")
	}
}

// TestModelIsPlausible looks at a year of every sensor.
func TestModelIsPlausible(t *testing.T) {
	t.Parallel()
	bounds := map[string][2]float64{ // of all but faults
		"air.temperature": {-10, 50}, "air.humidity": {20, 100}, "soil.moisture": {20, 80},
		"light.lux": {0, 90_000}, "battery.voltage": {2, 4.3}, "wifi.rssi": {-95, -45},
		"climate.temperature": {16, 27}, "climate.humidity": {25, 75}, "climate.co2": {400, 1600},
		"room.occupants": {0, 5}, "outdoor.temperature": {-15, 40}, "outdoor.pressure": {980, 1050},
		"outdoor.humidity": {15, 100}, "wind.speed": {0, 20}, "wind.direction": {0, 359}, "rain.today": {0, 80},
		"power.watts": {60, 6000}, "power.voltage": {220, 240}, "temperature": {-23, 12},
		"water.pressure": {1.9, 3.8}, "water.flow": {0, 23}, "motor.temperature": {18, 52},
	}
	for i := range 12 {
		v := mustVirtual(t, 3, i)
		for k := range v.sensors {
			s := &v.sensors[k]
			bound, ok := bounds[string(s.metric)]
			if !ok {
				continue
			}
			outside, seen := 0, map[uint64]bool{}
			const looks = 3000
			for n := range looks {
				value := s.value(noon.Add(time.Duration(n) * 173 * time.Minute))
				x := float64(int64(value.Bits))
				if value.Kind == device.KindFloat {
					x = math.Float64frombits(value.Bits)
				}
				if x < bound[0] || x > bound[1] {
					outside++
				}
				seen[value.Bits] = true
			}
			if outside > looks/1000 {
				t.Errorf("%s %s: %d of %d readings outside of %v", v.id, s.metric, outside, looks, bound)
			}
			if len(seen) < 4 {
				t.Errorf("%s %s: only %d different readings", v.id, s.metric, len(seen))
			}
		}
	}
}

func TestCountersNeverGoBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ kind, metric string }{{"meter", "energy.wh"}, {"pump", "water.litres"}} {
		v := mustVirtual(t, 5, 0, tt.kind)
		for _, s := range v.sensors {
			if string(s.metric) != tt.metric {
				continue
			}
			last, first := int64(0), int64(0)
			for n := range 5000 {
				now := int64(s.value(noon.Add(time.Duration(n) * 7 * time.Minute)).Bits)
				if now < last {
					t.Fatalf("%s fell from %d to %d", tt.metric, last, now)
				}
				if n == 0 {
					first = now
				}
				last = now
			}
			if last == first {
				t.Errorf("%s stands still", tt.metric)
			}
		}
	}
}

// TestEnergyIsTheIntegralOfPower compares the counter with the watts, an hour
// long.
func TestEnergyIsTheIntegralOfPower(t *testing.T) {
	t.Parallel()
	v := mustVirtual(t, 9, 0, "meter")
	watts, energy := v.sensors[0], v.sensors[3]
	from := noon.Add(6 * time.Hour)
	sum := 0.0
	for s := range 3600 {
		sum += math.Float64frombits(watts.value(from.Add(time.Duration(s)*time.Second)).Bits) / 3600
	}
	got := float64(energy.value(from.Add(time.Hour)).Bits - energy.value(from).Bits)
	if math.Abs(got-sum) > 0.02*sum+3 {
		t.Errorf("the counter rose by %v Wh, the power sums up to %.1f Wh", got, sum)
	}
}

func TestDoorsOpenAndClose(t *testing.T) {
	t.Parallel()
	o := &opening{noise: noise(11), slot: 5 * time.Minute}
	times, open := 0, time.Duration(0)
	was := false
	for s := range int(day / time.Second) {
		is := o.at(noon.Add(time.Duration(s) * time.Second))
		if is {
			open += time.Second
		}
		if is && !was {
			times++
		}
		was = is
	}
	if times < 60 || times > 200 || open/time.Duration(times) < 4*time.Second || open/time.Duration(times) > 40*time.Second {
		t.Errorf("opened %d times for %v altogether", times, open)
	}
}

func TestEventIsDueWhenItChanges(t *testing.T) {
	t.Parallel()
	half := device.Time(30_000_000)
	s := event("door.open", 60, func(at device.Time) wire.Value { return truth(at/half%2 == 1) })
	tests := []struct {
		name       string
		k          int64
		at, before device.Time
		want       bool
	}{
		{"heartbeat", 120, 1, 0, true},
		{"no change", 7, 2, 1, false},
		{"opened", 7, half, half - 1, true},
		{"closed", 8, 2 * half, 2*half - 1, true},
		{"in the backfill", -60, 1, 0, true},
	}
	for _, tt := range tests {
		if got := s.due(tt.k, tt.at, tt.before); got != tt.want {
			t.Errorf("%s: due is %t", tt.name, got)
		}
	}
}

// TestFaultsAreRare counts spikes and stuck probes over ten weeks.
func TestFaultsAreRare(t *testing.T) {
	t.Parallel()
	p := probe{noise: noise(4), perUnit: 100, low: 0, high: 100}
	quantity := func(at device.Time) float64 { return 20 + float64(at%1_000_000)/1e6 }
	spikes, stuck := 0, 0
	const looks = 600_000
	for n := range looks {
		at := noon + device.Time(n)*10_050_000
		if p.unstuck(at) != at {
			stuck++
		}
		if p.reading(at, quantity) > 25 {
			spikes++
		}
	}
	if spikes < looks/spikeOneIn/2 || spikes > looks/spikeOneIn*2 {
		t.Errorf("%d spikes in %d readings", spikes, looks)
	}
	if share := float64(stuck) / looks; share < 0.0005 || share > 0.01 {
		t.Errorf("stuck in %v of the readings", share)
	}
}

func TestNamesAreUniqueAndValid(t *testing.T) {
	t.Parallel()
	for _, kinds := range [][]string{nil, {"room"}, {"door", "pump"}} {
		seen := map[device.ID]bool{}
		for i := range 300 {
			v := mustVirtual(t, 1, i, kinds...)
			if seen[v.id] {
				t.Fatalf("two devices of %v are called %s", kinds, v.id)
			}
			seen[v.id] = true
			if _, err := device.ParseID(string(v.id)); err != nil {
				t.Error(err)
			}
		}
	}
}
