package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/naru-telemetry/naru/"

// importRule is a sentence of the design: which imports the packages it concerns
// may not have, and why. A pattern is a path, of the module when it begins with
// ./, and stands for what lies below it as well; with $ at its end it stands for
// itself only.
type importRule struct {
	name, why string
	// of are the packages concerned; but, those among them that are not.
	of, but []string
	// never are the imports that are forbidden; unless, those among them that are not.
	never, unless []string
	// codeOnly leaves test files aside.
	codeOnly bool
}

var importRules = []importRule{
	{
		name: "device imports nobody",
		why:  "the domain is what all packages share: what it imported, all of them would",
		of:   []string{"./device"}, never: []string{"./", "third party"}, unless: []string{"./device"}, codeOnly: true,
	},
	{
		name: "device's tests know no other package",
		why:  "what the domain needs for its tests would be part of the domain",
		of:   []string{"./device"}, never: []string{"./"}, unless: []string{"./device"},
	},
	{
		name: "ingest knows neither storage nor push",
		why:  "peers meet in cmd/naru only, through interfaces that stand with the caller",
		of:   []string{"./ingest"}, never: []string{"./storage", "./push"},
	},
	{
		name: "storage knows neither ingest nor push",
		why:  "peers meet in cmd/naru only, through interfaces that stand with the caller",
		of:   []string{"./storage"}, never: []string{"./ingest", "./push"},
	},
	{
		name: "push knows neither ingest nor storage",
		why:  "peers meet in cmd/naru only, through interfaces that stand with the caller",
		of:   []string{"./push"}, never: []string{"./ingest", "./storage"},
	},
	{
		name: "push/socketio knows nothing of readings",
		why:  "a protocol's library can be tried with the tests of its authors, and read without the gateway",
		of:   []string{"./push/socketio", "./push/wsconn", "./push/gzipped"}, never: []string{"./"}, unless: []string{"./push/socketio", "./push/wsconn", "./push/gzipped"}, codeOnly: true,
	},
	{
		name: "only storage knows bbolt",
		why:  "the file format and its transactions have one owner",
		of:   []string{"./"}, but: []string{"./storage"}, never: []string{"go.etcd.io/bbolt"},
	},
	{
		name: "only ingest/listen and the simulator know pion",
		why:  "datagram security belongs to the sockets, of devices too, and can be exchanged there",
		of:   []string{"./"}, but: []string{"./ingest/listen", "./firmware-sim"}, never: []string{"github.com/pion"},
	},
	{
		name: "codecs are pure",
		why:  "a codec without clock, socket, lock and log can be fuzzed, and gives the same for the same bytes",
		of:   []string{"./ingest/wire", "./ingest/coap", "./ingest/rows", "./storage/block"}, never: []string{"time$", "net", "os", "log", "sync", "context$"}, codeOnly: true,
	},
	{
		name: "codecs know only the domain",
		why:  "the simulator uses the codecs and must not gain the gateway with them",
		of:   []string{"./ingest/wire", "./ingest/coap", "./ingest/rows", "./storage/block"}, never: []string{"./", "go.etcd.io/bbolt"}, unless: []string{"./device", "./ingest/wire", "./ingest/rows", "./storage/block"},
	},
	{
		name: "firmware-sim knows nothing of the gateway but the wire",
		why:  "a simulator that shares code with what it tries out agrees with its mistakes",
		of:   []string{"./firmware-sim"}, never: []string{"./storage", "./push", "./ingest", "./cmd"}, unless: []string{"./ingest/wire"},
	},
	{
		name: "nobody imports the program",
		why:  "only cmd/naru knows everybody, and nobody knows it",
		of:   []string{"./"}, but: []string{"./cmd"}, never: []string{"./cmd"},
	},
}

// matches reports whether the import path is one that the patterns stand for.
func matches(importPath string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == "third party" {
			first, _, _ := strings.Cut(importPath, "/")
			return strings.Contains(first, ".") && !strings.HasPrefix(importPath, module)
		}
		own, inModule := strings.CutPrefix(pattern, "./")
		if inModule {
			pattern = strings.TrimSuffix(module+own, "/")
		}
		if exact, ok := strings.CutSuffix(pattern, "$"); ok {
			return importPath == exact
		}
		return importPath == pattern || strings.HasPrefix(importPath, pattern+"/")
	})
}

// broken reports whether a file of the package may not import importPath.
func (r *importRule) broken(pkg string, test bool, importPath string) bool {
	return matches(pkg, r.of) && !matches(pkg, r.but) && (!test || !r.codeOnly) &&
		matches(importPath, r.never) && !matches(importPath, r.unless)
}

// moduleRoot is where go.mod stands.
const moduleRoot = "../.."

// produced are folders that building and running leave behind.
var produced = []string{"bin", "node_modules", "dist", "testdata", "naru-data"}

// eachImport calls f for every import of every file of the module.
func eachImport(t *testing.T, f func(file, pkg, importPath string)) {
	t.Helper()
	err := filepath.WalkDir(moduleRoot, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if name != moduleRoot && (slices.Contains(produced, entry.Name()) || strings.HasPrefix(entry.Name(), ".")) {
				return fs.SkipDir
			}
			return nil
		case filepath.Ext(name) != ".go":
			return nil
		}
		file, err := filepath.Rel(moduleRoot, name)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range parsed.Imports {
			importPath, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f(file, module+path.Dir(file), importPath)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestArchitecture holds the import rules. Test files obey them too, but for
// those of cmd/naru, which knows everybody.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	eachImport(t, func(file, pkg, importPath string) {
		seen[pkg] = true
		for i := range importRules {
			if r := &importRules[i]; r.broken(pkg, strings.HasSuffix(file, "_test.go"), importPath) {
				t.Errorf("%s imports %s.\nRule: %s.\nReason: %s.", file, importPath, r.name, r.why)
			}
		}
	})
	for _, pkg := range []string{"device", "ingest", "ingest/wire", "ingest/listen", "storage", "push", "push/live", "firmware-sim/fleet", "cmd/naru"} {
		if !seen[module+pkg] {
			t.Errorf("package %s was not looked at", pkg)
		}
	}
}

// Each rule can be broken: a rule that matches nothing would hold nothing.
func TestImportRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pkg, importPath string
		test            bool
		rule            string // empty: none
	}{
		{"device", "github.com/google/go-cmp/cmp", false, "device imports nobody"},
		{"device", "github.com/google/go-cmp/cmp", true, ""},
		{"device", module + "ingest/wire", true, "device's tests know no other package"},
		{"device", "encoding/json", false, ""},
		{"ingest", module + "storage", false, "ingest knows neither storage nor push"},
		{"ingest/listen", module + "push/live", true, "ingest knows neither storage nor push"},
		{"ingest", module + "ingest/wire", false, ""},
		{"storage", module + "push", false, "storage knows neither ingest nor push"},
		{"storage/block", module + "ingest", false, "storage knows neither ingest nor push"},
		{"push/live", module + "storage", false, "push knows neither ingest nor storage"},
		{"push", module + "ingest/wire", true, "push knows neither ingest nor storage"},
		{"push", module + "device", false, ""},
		{"push/socketio/engine", module + "push", false, "push/socketio knows nothing of readings"},
		{"push/socketio", module + "device", false, "push/socketio knows nothing of readings"},
		{"push/socketio", module + "push/socketio/engine", false, ""},
		{"push/wsconn", module + "push/live", false, "push/socketio knows nothing of readings"},
		{"push", "go.etcd.io/bbolt", false, "only storage knows bbolt"},
		{"storage", "go.etcd.io/bbolt/errors", false, ""},
		{"firmware-sim", "github.com/pion/dtls/v2", false, ""},
		{"ingest", "github.com/pion/dtls/v2", false, "only ingest/listen and the simulator know pion"},
		{"ingest/listen", "github.com/pion/dtls/v2", false, ""},
		{"ingest/wire", "time", false, "codecs are pure"},
		{"ingest/wire", "net/netip", false, "codecs are pure"},
		{"ingest/wire", "sync/atomic", false, "codecs are pure"},
		{"ingest/wire", "log/slog", false, "codecs are pure"},
		{"ingest/wire", "os", true, ""},
		{"ingest/rows", "time", false, "codecs are pure"},
		{"ingest/wire", module + "ingest", false, "codecs know only the domain"},
		{"ingest/wire", module + "device", false, ""},
		{"firmware-sim/fleet", module + "ingest", false, "firmware-sim knows nothing of the gateway but the wire"},
		{"firmware-sim/fleet", module + "push/live", true, "firmware-sim knows nothing of the gateway but the wire"},
		{"firmware-sim/fleet", module + "ingest/wire", false, ""},
		{"push", module + "cmd/naru", false, "nobody imports the program"},
		{"cmd/naru", module + "storage", false, ""},
		{"cmd/naru", "go.etcd.io/bbolt", false, "only storage knows bbolt"},
	} {
		var broken []string
		for i := range importRules {
			if importRules[i].broken(module+c.pkg, c.test, c.importPath) {
				broken = append(broken, importRules[i].name)
			}
		}
		if c.rule == "" && len(broken) > 0 || c.rule != "" && !slices.Contains(broken, c.rule) {
			t.Errorf("%s imports %s (test: %v): breaks %q, want %q", c.pkg, c.importPath, c.test, broken, c.rule)
		}
	}
}

// TestTopLevel keeps the house as the design draws it: a new thing belongs into
// one of its rooms.
func TestTopLevel(t *testing.T) {
	t.Parallel()
	rooms := []string{"cmd", "device", "ingest", "push", "storage", "firmware-sim", "docs", "packaging"}
	entries, err := os.ReadDir(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(rooms, e.Name()) && !slices.Contains(produced, e.Name()) {
			t.Errorf("the top-level folder %s is none of %q.\nReason: the map of the house stays small enough to be known by heart.", e.Name(), rooms)
		}
	}
}
