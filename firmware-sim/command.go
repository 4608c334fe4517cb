package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/naru-telemetry/naru/firmware-sim/fleet"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// errUnacknowledged makes the exit code 1 after a report that says the rest.
var errUnacknowledged = errors.New("some messages were not acknowledged")

// execute runs the command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot() //nolint:contextcheck // the commands take theirs from cobra
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintln(stderr, "firmware-sim:", err)
		return 1
	}
	return 0
}

const rootLong = `firmware-sim plays the devices of a telemetry server.

  firmware-sim run       a fleet of devices with believable sensors (the default)
  firmware-sim replay    the readings of a CSV file, in their own time or faster
  firmware-sim load      many readings over few sockets, to measure a server

Readings go to --udp, --tcp, --tls, --dtls, --coap, --coaps or --http, 127.0.0.1:7700
over UDP unless said otherwise. With several, devices take turns. They are line
protocol, JSON and CBOR, a different one for each device, unless --format names one.

A report stands at the end; --json makes it one for machines. The exit code is 1
when messages that asked for an acknowledgement (--ack) did not get it.`

const rootExample = `  # a house, a greenhouse and a weather station, alive
  firmware-sim

  # the same seen through a bad radio, with acknowledgements for a minute
  firmware-sim --ack --loss 0.1 --duplicate 0.02 --reorder 0.05 --duration 1m

  # over DTLS, CoAP and HTTP, with secrets that the gateway makes; devices take commands
  firmware-sim --dtls 127.0.0.1:7700 --coaps 127.0.0.1:7700 --http 127.0.0.1:7780 --register --ack

  # 100 devices, ten times as lively as in nature
  firmware-sim --devices 100 --rate 10x

  # a recording, a minute of it every second
  firmware-sim replay climate.csv.gz --speed 60

  # half a million readings a second for ten seconds
  firmware-sim load --tcp 127.0.0.1:7700 --rate 500000 --duration 10s`

func newRoot() *cobra.Command {
	run := newRun()
	root := &cobra.Command{
		Use:           "firmware-sim",
		Short:         "Play the devices of a telemetry server",
		Long:          rootLong,
		Example:       rootExample,
		Args:          cobra.NoArgs,
		RunE:          run.RunE,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Flags().AddFlagSet(run.Flags())
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(run, newReplay(), newLoad())
	return root
}

// targetFlags adds the flags that every command has.
func targetFlags(f *pflag.FlagSet, t *fleet.Target, o *output) {
	f.StringVar(&t.UDP, "udp", "", "UDP `address` of the server (default 127.0.0.1:7700 without another one)")
	f.StringVar(&t.TCP, "tcp", "", "TCP `address` of the server")
	f.Var((*formatValue)(&t.Format), "format", "mixed, or "+formatNames())
	f.BoolVar(&o.json, "json", false, "report as JSON")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no report, only errors and the exit code")
}

// accessToken names what allows requests over HTTP where no flag does.
const accessToken = "NARU_TOKEN"

// transportFlags adds the transports that load does without. The file with whom to
// trust over TLS is known when the flags have been read.
func transportFlags(f *pflag.FlagSet, t *fleet.Target) (ca *string) {
	f.StringVar(&t.TLS, "tls", "", "TCP `address` of the server, spoken to over TLS")
	f.StringVar(&t.CoAP, "coap", "", "UDP `address` of the server, spoken to in CoAP")
	f.StringVar(&t.HTTP, "http", "", "`address` or URL to write to over HTTP, as 127.0.0.1:7780")
	return f.String("ca", "", "`file` with the certificate of whom to trust over TLS (default those of the system)")
}

func defaultTarget(t *fleet.Target) {
	if t.UDP == "" && t.TCP == "" && t.TLS == "" && t.DTLS == "" && t.CoAP == "" && t.CoAPS == "" && t.HTTP == "" {
		t.UDP = "127.0.0.1:7700"
	}
}

// ackFlags adds the flags of acknowledged sending.
func ackFlags(f *pflag.FlagSet, a *fleet.Acks, window int) {
	f.Float64Var(&a.Share, "ack", 0, "ask for acknowledgements and send again; a `share` of the devices, as in --ack=0.3")
	f.Lookup("ack").NoOptDefVal = "1"
	f.DurationVar(&a.Timeout, "ack-timeout", fleet.DefaultAckTimeout, "wait for the first acknowledgement; doubles up to 30s")
	f.IntVar(&a.Retries, "ack-retries", fleet.DefaultAckRetries, "retransmissions until a message is given up; -1 for none")
	f.IntVar(&a.Window, "window", window, "messages under way at once")
}

// linkFlags adds the flags of a bad link.
func linkFlags(f *pflag.FlagSet, loss, duplicate, reorder *float64, jitter *time.Duration, seed *uint64) {
	f.Float64Var(loss, "loss", 0, "`chance` that a datagram is lost, 0 to 1")
	f.Float64Var(duplicate, "duplicate", 0, "`chance` that a datagram is sent twice")
	f.Float64Var(reorder, "reorder", 0, "`chance` that a datagram is overtaken by the next")
	f.DurationVar(jitter, "jitter", 0, "longest delay of a datagram")
	f.Uint64Var(seed, "seed", 1, "decides sensors, faults and losses")
}

// formatValue is the flag of a format; mixed is 0.
type formatValue wire.Format

func (v *formatValue) String() string {
	if *v == 0 {
		return "mixed"
	}
	return wire.Format(*v).String()
}

func (v *formatValue) Set(s string) error {
	if s == "mixed" {
		*v = 0
		return nil
	}
	for _, f := range fleet.Formats() {
		if s == f.String() {
			*v = formatValue(f)
			return nil
		}
	}
	return fmt.Errorf("want mixed, or %s", formatNames())
}

// formatNames lists what devices send.
func formatNames() string {
	var names []string
	for _, f := range fleet.Formats() {
		names = append(names, f.String())
	}
	return strings.Join(names, ", ")
}

func (v *formatValue) Type() string { return "format" }

// rateValue is a rate: 10x is so many times the natural one, 500 so many
// readings a second.
type rateValue struct{ times, perSecond float64 }

func (v *rateValue) String() string {
	if v.perSecond > 0 {
		return strconv.FormatFloat(v.perSecond, 'f', -1, 64)
	}
	if v.times == 0 {
		return "1x"
	}
	return strconv.FormatFloat(v.times, 'f', -1, 64) + "x"
}

func (v *rateValue) Set(s string) error {
	number, times := strings.CutSuffix(s, "x")
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || f <= 0 || f > 1e9 {
		return errors.New("want 10x for ten times as often, or 500 for so many readings a second")
	}
	if *v = (rateValue{perSecond: f}); times {
		*v = rateValue{times: f}
	}
	return nil
}

func (v *rateValue) Type() string { return "rate" }

// openFile opens a file; - is the standard input.
func openFile(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	return os.Open(name)
}
