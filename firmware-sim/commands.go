package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/firmware-sim/fleet"
)

func newRun() *cobra.Command {
	var (
		cfg  fleet.Config
		rate rateValue
		out  output

		secrets secretFlags
		ca      *string
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "A fleet of devices with believable sensors",
		Long: `run plays devices with believable sensors: greenhouses, rooms, a weather station,
power meters, fridges, doors and pumps. The same --seed gives the same readings
at the same time. It goes on until it is interrupted, or for --duration, or until
--count readings have been sent.

Over --dtls and --coaps a device needs a key, and a gateway may want a token of the
others. Devices that ask for acknowledgements carry out commands: interval (seconds),
relay (true, false, "toggle"), set (a value, or an object of some), identify, reboot.

Kinds of device: ` + strings.Join(fleet.Kinds(), ", ") + `.`,
		Example: `  firmware-sim run --udp 127.0.0.1:7700 --tcp 127.0.0.1:7700 --ack=0.5
  firmware-sim run --kind room --devices 50 --backfill 30m
  firmware-sim run --devices 100 --interval 1s --batch 1 --count 100000
  firmware-sim run --ack --reboot 5m --loss 0.05
  firmware-sim run --coap 127.0.0.1:7700 --format senml --ack
  firmware-sim run --tls 192.168.1.20:7700 --ca naru-ca.crt --secrets secrets.json --ack
  firmware-sim run --dtls 192.168.1.20:7700 --register --api http://192.168.1.20:7780 --secrets secrets.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defaultTarget(&cfg.Target)
			cfg.Rate, cfg.ReadingsPerSecond = rate.times, rate.perSecond
			var err error
			if cfg.Roots, err = roots(*ca); err != nil {
				return err
			}
			if err := secrets.apply(cmd.Context(), &cfg); err != nil {
				return err
			}
			f, err := fleet.New(cfg)
			if err != nil {
				return err
			}
			return out.watch(cmd.Context(), cmd, f)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	targetFlags(f, &cfg.Target, &out)
	ca = transportFlags(f, &cfg.Target)
	f.StringVar(&cfg.DTLS, "dtls", "", "UDP `address` of the server, spoken to over DTLS with a pre-shared key")
	f.StringVar(&cfg.CoAPS, "coaps", "", "UDP `address` of the server, spoken to in CoAP over DTLS")
	secrets.addTo(f)
	f.BoolVar(&cfg.NoObserve, "no-observe", false, "over CoAP hear of commands in answers only")
	f.IntVar(&cfg.Devices, "devices", fleet.DefaultDevices, "number of devices")
	f.StringSliceVar(&cfg.Kinds, "kind", nil, "only these `kinds` of device")
	f.Var(&rate, "rate", "10x: so many times as often as in nature; 500: so many readings a second")
	f.DurationVar(&cfg.Interval, "interval", 0, "time between two reports of each device, instead of its kind's")
	f.IntVar(&cfg.Batch, "batch", 0, "readings of one message at most; 0 for a whole report")
	f.DurationVar(&cfg.Duration, "duration", 0, "end after this time")
	f.Int64Var(&cfg.Count, "count", 0, "end after so many readings")
	f.DurationVar(&cfg.Backfill, "backfill", 0, "begin with the readings since so long ago")
	f.BoolVar(&cfg.Seq, "seq", false, "number the messages also without --ack")
	f.Uint64Var(&cfg.FirstSeq, "first-seq", 0, "first number; 0 for Unix milliseconds at the start")
	ackFlags(f, &cfg.Acks, fleet.DefaultWindow)
	linkFlags(f, &cfg.Loss, &cfg.Duplicate, &cfg.Reorder, &cfg.Jitter, &cfg.Seed)
	f.DurationVar(&cfg.Reboot, "reboot", 0, "mean time between two restarts of a device")
	f.BoolVar(&cfg.KeepSeq, "keep-seq", false, "devices go on counting after a restart, instead of from 1")
	return cmd
}

func newReplay() *cobra.Command {
	var (
		cfg fleet.ReplayConfig
		out output
		ca  *string
	)
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "The readings of a CSV file, in their own time or faster",
		Long: `replay sends the readings of a CSV file whose header names the columns

  device,metric,unix_ms,value

It may be compressed with gzip; - is the standard input. An integer literal is an
integer, any other number a float, true and false are booleans, everything else
is a text. Neighbouring readings of one device and one time make one message. A
line that cannot be read is named in the report, and the others are sent.

Over UDP and CoAP without --ack at most 20,000 readings a second are sent, so that
none is lost in a full buffer; --rate changes that.`,
		Example: `  firmware-sim replay climate.csv.gz                  # in real time
  firmware-sim replay climate.csv.gz --speed 60       # a minute every second
  firmware-sim replay climate.csv.gz --speed 0 --tcp 127.0.0.1:7700
  firmware-sim replay climate.csv.gz --speed 0 --ack  # UDP, nothing lost
  firmware-sim replay old.csv --to-now                # times moved to the present`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defaultTarget(&cfg.Target)
			file, err := openFile(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer file.Close() //nolint:errcheck // it is only read
			if cfg.Roots, err = roots(*ca); err != nil {
				return err
			}
			if cfg.AccessToken == "" {
				cfg.AccessToken = os.Getenv(accessToken)
			}
			r, err := fleet.NewReplay(cfg, file)
			if err != nil {
				return err
			}
			return out.watch(cmd.Context(), cmd, r)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	targetFlags(f, &cfg.Target, &out)
	ca = transportFlags(f, &cfg.Target)
	f.StringVar(&cfg.AccessToken, "access-token", "", "access `token` of a gateway on another machine, for --http (or NARU_TOKEN)")
	f.Float64Var(&cfg.Speed, "speed", 1, "how much faster than in the file time passes; 0 for as fast as possible")
	f.DurationVar(&cfg.MaxGap, "max-gap", 0, "shorten pauses in the file to this")
	f.Float64Var(&cfg.Rate, "rate", 0, "readings in a second at most (default 20000 over UDP and CoAP without --ack)")
	f.DurationVar(&cfg.Shift, "shift", 0, "added to all times, as in --shift=-24h")
	f.BoolVar(&cfg.ToNow, "to-now", false, "move all times so that the first is now")
	f.BoolVar(&cfg.Seq, "seq", false, "number the messages also without --ack")
	f.Uint64Var(&cfg.FirstSeq, "first-seq", 0, "first number; 0 for Unix milliseconds at the start")
	ackFlags(f, &cfg.Acks, fleet.DefaultReplayWindow)
	linkFlags(f, &cfg.Loss, &cfg.Duplicate, &cfg.Reorder, &cfg.Jitter, &cfg.Seed)
	return cmd
}

func newLoad() *cobra.Command {
	var (
		cfg fleet.LoadConfig
		out output
	)
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Many readings over few sockets, to measure a server",
		Long: `load sends the readings of many devices over a few sockets, at a steady rate and
without waiting for anything. What the server made of it is for the server to
say; over TCP all of it has been read by the server when load ends.`,
		Example: `  firmware-sim load --tcp 127.0.0.1:7700 --rate 600000 --duration 10s
  firmware-sim load --udp 127.0.0.1:7700 --rate 50000 --batch 1 --count 500000
  firmware-sim load --udp 127.0.0.1:7700 --pack 10 --format line`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defaultTarget(&cfg.Target)
			l, err := fleet.NewLoad(cfg)
			if err != nil {
				return err
			}
			return out.watch(cmd.Context(), cmd, l)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	targetFlags(f, &cfg.Target, &out)
	f.IntVar(&cfg.Devices, "devices", fleet.DefaultLoadDevices, "number of devices")
	f.StringSliceVar(&cfg.Kinds, "kind", nil, "only these `kinds` of device: "+strings.Join(fleet.Kinds(), ", "))
	f.Float64Var(&cfg.Rate, "rate", 0, "readings a second; 0 for as many as possible")
	f.IntVar(&cfg.Sockets, "sockets", fleet.DefaultSockets, "number of sockets")
	f.IntVar(&cfg.Batch, "batch", 0, "readings of one message at most; 0 for one of every sensor")
	f.IntVar(&cfg.Pack, "pack", 1, "messages in one datagram")
	f.DurationVar(&cfg.Duration, "duration", 0, "end after this time")
	f.Int64Var(&cfg.Count, "count", 0, "end after so many readings")
	f.BoolVar(&cfg.Seq, "seq", false, "number the messages of each device, from 1")
	f.Uint64Var(&cfg.Seed, "seed", 1, "decides the sensors")
	return cmd
}
