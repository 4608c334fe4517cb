package storage

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The system calls that strace records. Those with a question mark are not
// there on every processor. Whatever can change a file and is not understood
// is recorded too, so that it is noticed.
const tracedCalls = "?open,openat,?creat,close,read,write,pwrite64,lseek,ftruncate,?truncate,fsync,fdatasync," +
	"?rename,?renameat,?renameat2,?unlink,unlinkat," +
	"?openat2,writev,pwritev,?pwritev2,fallocate,?link,linkat,?symlink,symlinkat,?mkdir,mkdirat,?rmdir," +
	"copy_file_range,sendfile,splice,?dup2,dup,dup3,mmap,sync_file_range,syncfs,sync"

// maxTraced is the largest write that strace writes down whole.
const maxTraced = 4 << 20

// recording is what a process did to a folder, and what it said meanwhile.
type recording struct {
	ops   []*diskOp // in the order in which they begin
	marks []mark
	end   int // position after the last operation
}

// mark is a line that the process wrote to its standard output.
type mark struct {
	at   int
	text string
}

// tracer reads the output of strace -f -xx. It follows the descriptors of one
// process and its threads.
type tracer struct {
	recording
	dir     string // whose files are followed
	names   map[string]int
	files   int // how many there have been
	open    map[string]*descriptor
	started map[string]*tracedCall // by thread
	partial string                 // of a mark
}

type descriptor struct {
	file    int // -1: the folder
	at      int64
	appends bool
}

// tracedCall is a system call that began, with the operation that it is.
type tracedCall struct {
	text string // as far as it is known
	op   *diskOp
	at   int
}

// errTrace says that the output of strace is not understood.
var errTrace = errors.New("trace")

// readTrace returns what the trace says about the folder dir, in which the
// files of names were at the beginning.
func readTrace(r io.Reader, dir string, names map[string]int) (*recording, error) {
	t := &tracer{dir: dir, names: names, files: len(names), open: map[string]*descriptor{}, started: map[string]*tracedCall{}}
	br := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		line, err := br.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err := t.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w: %.200s", errTrace, n, err, line)
		}
	}
	slices.SortStableFunc(t.ops, func(a, b *diskOp) int { return a.begun - b.begun })
	return &t.recording, nil
}

// line takes one line: a whole call, or the one or other end of it.
func (t *tracer) line(line string) error {
	thread, text, ok := strings.Cut(line, " ")
	text = strings.TrimLeft(text, " ")
	if !ok || strings.HasPrefix(text, "+++") || strings.HasPrefix(text, "---") {
		return nil
	}
	if _, rest, ok := strings.Cut(text, " resumed>"); ok && strings.HasPrefix(text, "<... ") {
		c := t.started[thread]
		if c == nil {
			return errors.New("the call did not begin")
		}
		delete(t.started, thread)
		c.text += rest
		return t.finish(c)
	}
	text, unfinished := strings.CutSuffix(text, "<unfinished ...>")
	c := &tracedCall{text: strings.TrimRight(text, " ")}
	if err := t.begin(c); err != nil {
		return err
	}
	if unfinished {
		t.started[thread] = c
		return nil
	}
	return t.finish(c)
}

// leastArgs is how many arguments calls have at least, where more than the first
// is looked into.
var leastArgs = map[string]int{
	"write": 3, "pwrite64": 4, "ftruncate": 2, "open": 2, "openat": 3,
	"rename": 2, "renameat": 4, "renameat2": 4, "unlinkat": 2, "mmap": 6, "copy_file_range": 3, "splice": 3,
}

// callArgs parts a call, of which the end may be missing, into its name,
// arguments and result.
func callArgs(text string) (name string, args []string, result string, err error) {
	name, rest, _ := strings.Cut(text, "(")
	inner, after, _ := strings.Cut(rest, ")")
	args = strings.Split(strings.TrimRight(inner, ", "), ", ")
	if len(args) < leastArgs[name] {
		err = fmt.Errorf("%d arguments of %s", len(args), name)
	}
	_, result, _ = strings.Cut(after, "= ")
	result, _, _ = strings.Cut(result, " ")
	return name, args, result, err
}

func (t *tracer) position() int {
	t.end++
	return t.end - 1
}

// begin takes up a call of which all that goes in is known. Descriptors are
// looked up now, since they may mean something else when the call is done.
func (t *tracer) begin(c *tracedCall) error {
	name, args, _, err := callArgs(c.text)
	if err != nil {
		return err
	}
	c.at = t.position()
	switch name {
	case "write":
		if args[0] == "1" {
			return t.say(c.at, args)
		}
		return t.beginWrite(c, args, "")
	case "pwrite64":
		return t.beginWrite(c, args, args[len(args)-1])
	case "ftruncate":
		size, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return err
		}
		return t.beginFile(c, args[0], &diskOp{kind: opResize, at: size})
	case "fsync", "fdatasync":
		return t.beginFile(c, args[0], &diskOp{kind: opSync})
	case "rename", "renameat", "renameat2", "unlink", "unlinkat":
		return t.beginNames(c, name, args)
	case "close":
		delete(t.open, args[0])
	case "open", "openat", "creat", "read", "lseek":
	default:
		return t.refuse(name, args)
	}
	return nil
}

func (t *tracer) add(c *tracedCall, o *diskOp) {
	o.begun, o.done = c.at, never
	c.op = o
	t.ops = append(t.ops, o)
}

// beginFile takes up an operation on an open file of the folder.
func (t *tracer) beginFile(c *tracedCall, fd string, o *diskOp) error {
	d := t.open[fd]
	switch {
	case d == nil:
		return nil
	case d.file >= 0:
		o.file = d.file
	case o.kind == opSync:
		o.kind = opSyncDir
	default:
		return errors.New("the folder is no file")
	}
	t.add(c, o)
	return nil
}

// beginWrite takes up a write at an offset or, where that is empty, at the
// place of the descriptor.
func (t *tracer) beginWrite(c *tracedCall, args []string, offset string) error {
	d := t.open[args[0]]
	if d == nil {
		return nil
	}
	data, err := traceString(args[1])
	if err != nil {
		return err
	}
	at := d.at
	if offset != "" {
		if at, err = strconv.ParseInt(offset, 10, 64); err != nil {
			return err
		}
	} else if d.appends {
		return errors.New("appending is not followed")
	}
	if args[2] != strconv.Itoa(len(data)) {
		return fmt.Errorf("%d bytes of %s", len(data), args[2])
	}
	if offset == "" {
		d.at += int64(len(data))
	}
	return t.beginFile(c, args[0], &diskOp{kind: opWrite, at: at, data: data})
}

// say takes what is written to the standard output.
func (t *tracer) say(at int, args []string) error {
	data, err := traceString(args[1])
	if err != nil {
		return err
	}
	t.partial += string(data)
	for {
		text, rest, ok := strings.Cut(t.partial, "\n")
		if !ok {
			return nil
		}
		t.marks = append(t.marks, mark{at, text})
		t.partial = rest
	}
}

// beginNames takes up a renaming or removal. What comes into the folder from
// elsewhere, or leaves it, is not followed.
func (t *tracer) beginNames(c *tracedCall, call string, args []string) error {
	paths := args
	switch call {
	case "renameat", "renameat2", "unlinkat":
		from, err := t.resolve(args[0], args[1])
		if err != nil {
			return err
		}
		paths = []string{from}
		if call != "unlinkat" {
			to, err := t.resolve(args[2], args[3])
			if err != nil {
				return err
			}
			paths = append(paths, to)
		}
	default:
		for i := range paths {
			var err error
			if paths[i], err = t.resolve("AT_FDCWD", paths[i]); err != nil {
				return err
			}
		}
	}
	switch {
	case len(paths) == 1 && paths[0] != "":
		t.add(c, &diskOp{kind: opRemove, name: paths[0]})
	case len(paths) == 2 && paths[0] != "" && paths[1] != "":
		t.add(c, &diskOp{kind: opRename, name: paths[0], to: paths[1]})
	case len(paths) == 2 && paths[0]+paths[1] != "":
		return errors.New("a file comes or goes")
	}
	return nil
}

// resolve returns the name in the folder that the path means, "." for the
// folder itself and nothing for what lies elsewhere.
func (t *tracer) resolve(dirFD, quoted string) (string, error) {
	b, err := traceString(quoted)
	if err != nil {
		return "", err
	}
	path := string(b)
	if !filepath.IsAbs(path) {
		if d := t.open[dirFD]; d == nil || d.file >= 0 {
			return "", nil
		}
		path = filepath.Join(t.dir, path)
	}
	rel, err := filepath.Rel(t.dir, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", nil //nolint:nilerr // it lies elsewhere
	}
	if strings.Contains(rel, "/") {
		return "", errors.New("folders in the folder are not followed")
	}
	return rel, nil
}

// refuse notices calls that change files of the folder in ways that are not
// followed.
func (t *tracer) refuse(name string, args []string) error {
	switch name {
	case "sync", "syncfs":
		return nil // it only makes more durable than what is counted on
	case "mmap":
		if strings.Contains(args[2], "PROT_WRITE") && strings.Contains(args[3], "MAP_SHARED") && t.open[args[4]] != nil {
			return errors.New("writing to a map is not followed")
		}
		return nil
	case "copy_file_range", "splice":
		args = args[2:3] // the file that is read does not matter
	case "sendfile":
		args = args[:1]
	}
	if t.open[args[0]] != nil {
		return errors.New("not followed")
	}
	for i, a := range args {
		if strings.HasPrefix(a, `"`) {
			path, err := t.resolve(args[max(i-1, 0)], a)
			if err != nil {
				return err
			}
			if path != "" && path != "." {
				return errors.New("not followed")
			}
		}
	}
	return nil
}

// finish notes how a call ended.
func (t *tracer) finish(c *tracedCall) error {
	name, args, result, err := callArgs(c.text)
	if err != nil {
		return err
	}
	at := t.position()
	if result == "?" { // interrupted: it may or may not have happened
		return nil
	}
	n, err := strconv.ParseInt(result, 0, 64)
	if err != nil && name != "mmap" {
		return fmt.Errorf("result %q", result)
	}
	switch name {
	case "open", "openat", "creat":
		if n >= 0 {
			return t.opened(c, name, args, result)
		}
		return nil
	case "read", "lseek":
		if d := t.open[args[0]]; d != nil && n >= 0 {
			if name == "read" {
				n += d.at
			}
			d.at = n
		}
		return nil
	}
	if c.op == nil {
		return nil
	}
	return t.finishOp(c.op, at, n)
}

func (t *tracer) finishOp(o *diskOp, at int, result int64) error {
	onNames := o.kind == opRename || o.kind == opRemove
	switch {
	case result < 0 && onNames: // nothing of that name, as a rule
		t.ops = slices.DeleteFunc(t.ops, func(other *diskOp) bool { return other == o })
		return nil
	case result < 0, o.kind == opWrite && result != int64(len(o.data)):
		return fmt.Errorf("%s failed", o)
	case onNames:
		apply(t.names, o)
	}
	o.done = at
	return nil
}

// opened takes up a descriptor, and the file where it is a new one.
func (t *tracer) opened(c *tracedCall, call string, args []string, fd string) error {
	dirFD := "AT_FDCWD"
	if call == "openat" {
		dirFD, args = args[0], args[1:]
	}
	name, err := t.resolve(dirFD, args[0])
	if err != nil || name == "" {
		delete(t.open, fd)
		return err
	}
	flags := "O_CREAT|O_TRUNC"
	if call != "creat" {
		flags = args[1]
	}
	if name == "." {
		t.open[fd] = &descriptor{file: -1}
		return nil
	}
	file, known := t.names[name]
	switch {
	case !known:
		file = t.files
		t.files++
		t.add(c, &diskOp{kind: opCreate, file: file, name: name})
		apply(t.names, c.op)
		c.op.done = t.end - 1
	case strings.Contains(flags, "O_TRUNC"):
		t.add(c, &diskOp{kind: opResize, file: file})
		c.op.done = t.end - 1
	}
	t.open[fd] = &descriptor{file: file, appends: strings.Contains(flags, "O_APPEND")}
	return nil
}

// traceString decodes "\x41\x42".
func traceString(quoted string) ([]byte, error) {
	inner, ok := strings.CutPrefix(quoted, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	if !ok || !closed || len(inner)%4 != 0 {
		return nil, fmt.Errorf("text %.20s of %d bytes", quoted, len(quoted))
	}
	digits := make([]byte, 0, len(inner)/2)
	for ; inner != ""; inner = inner[4:] {
		if inner[:2] != `\x` {
			return nil, fmt.Errorf("text %.20s", inner)
		}
		digits = append(digits, inner[2:4]...)
	}
	n, err := hex.Decode(digits, digits)
	return digits[:n], err
}
