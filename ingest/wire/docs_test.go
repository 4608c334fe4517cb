package wire

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// documented is a row of the table of dialects that users read.
type documented struct {
	dialect, sample, device string
	readings                []string // metric, or metric=value
}

var (
	codeSpan  = regexp.MustCompile("`([^`]+)`")
	toldValue = regexp.MustCompile("`([^`]+)`( ([^,]+))?")
)

// spans returns what stands in a cell as code.
func spans(cell string) (all []string) {
	for _, m := range codeSpan.FindAllStringSubmatch(cell, -1) {
		all = append(all, strings.ReplaceAll(m[1], `\|`, "|"))
	}
	return all
}

// dialectTable reads the rows. A cell that is empty, or says the same, is that of the
// row above, and {…} stands for the object above.
func dialectTable(t *testing.T) (rows []documented) {
	t.Helper()
	text, err := os.ReadFile("../../docs/devices.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| dialect | sample | device | readings |\n|---|---|---|---|\n")
	if !ok {
		t.Fatal("there is no table of dialects")
	}
	row, object := documented{}, ""
	for line := range strings.Lines(table) {
		cells := regexp.MustCompile(`[^\\]\|`).ReplaceAllStringFunc(line, func(s string) string { return s[:1] + "\x00" })
		parts := strings.Split(strings.TrimPrefix(cells, "|"), "\x00")
		if len(parts) < 4 {
			break
		}
		if name := spans(parts[0]); len(name) == 1 {
			row.dialect = name[0]
		}
		row.sample = strings.ReplaceAll(strings.Join(spans(parts[1]), "\n"), "{…}", object)
		if i := strings.IndexByte(row.sample, '{'); i >= 0 {
			object = row.sample[i:]
		}
		row.device = ""
		if names := spans(parts[2]); len(names) > 0 && names[len(names)-1] != "ip-<address>" {
			row.device = names[len(names)-1]
		}
		if !strings.Contains(parts[3], "the same") {
			row.readings = nil
			for _, m := range toldValue.FindAllStringSubmatch(parts[3], -1) {
				reading := m[1]
				if value := strings.TrimSpace(m[3]); value != "" {
					reading += "=" + value
				}
				row.readings = append(row.readings, reading)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// binarySamples are of the dialects that cannot be written into a table.
func binarySamples(t *testing.T) map[string]string {
	return map[string]string{
		"esphome":  string(unhex(t, "5345 09 6b69746368656e2d31 01 02 0000ac41 04 74656d70 03 01 04 646f6f72 0000")),
		"collectd": string(unhex(t, collectdPacket)),
		"gzip":     string(packed(t, []byte("greenhouse.temp:21.5|g"))),
	}
}

// TestDocumentedDialects: each sample of the documentation is told for what the
// documentation says, and gives the device and the readings that stand there.
func TestDocumentedDialects(t *testing.T) {
	rows, binary := dialectTable(t), binarySamples(t)
	seen := map[string]bool{}
	for _, row := range rows {
		seen[row.dialect] = true
		sample, written := row.sample, true
		if sample == "" {
			sample, written = binary[row.dialect], false
		}
		if sample == "" {
			t.Errorf("%s: there is no sample", row.dialect)
			continue
		}
		var d Decoder
		d.Reset([]byte(sample), false)
		var device string
		var readings []string
		for d.Next() {
			m, err := d.Message()
			if format := m.Format.String(); err != nil || format != row.dialect && row.dialect != "gzip" {
				t.Errorf("%q: %s, %v; the table says %s", sample, format, err, row.dialect)
			}
			device = string(m.Device)
			for _, f := range m.Fields {
				readings = append(readings, string(f.Metric)+"="+strings.TrimSuffix(renderValue(f.Value), "i"))
			}
		}
		if !written { // the table names what it cannot show
			checkNamed(t, row, device, readings)
			continue
		}
		if device != row.device {
			t.Errorf("%q: device %q; the table says %q", sample, device, row.device)
		}
		if diff := cmp.Diff(row.readings, readings); diff != "" {
			t.Errorf("%q (-table +got):\n%s", sample, diff)
		}
	}
	for f := FormatStatsD; f <= lastFormat; f++ {
		if !seen[f.String()] {
			t.Errorf("%s is not in the table", f)
		}
	}
	t.Logf("%d samples of %d dialects", len(rows), len(seen))
}

func checkNamed(t *testing.T, row documented, device string, readings []string) {
	t.Helper()
	if device == "" || len(readings) == 0 {
		t.Errorf("%s: device %q, readings %q", row.dialect, device, readings)
	}
	for _, name := range row.readings {
		if !strings.Contains("\n"+strings.Join(readings, "\n"), "\n"+name+"=") {
			t.Errorf("%s: the table names %s, and there is only %q", row.dialect, name, readings)
		}
	}
}
