package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/push/auth"
	"github.com/naru-telemetry/naru/push/live"
)

// registry returns the program's metrics in Prometheus' form. They are read from
// the packages' own counts when asked for.
func (g *gateway) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		(*gatewayCollector)(g),
	)
	return r
}

// gatewayCollector reads the counts of a gateway.
type gatewayCollector gateway

var (
	refusedDesc   = desc("refused_total", "Payloads, messages and readings that were refused, by reason.", "reason")
	viewersDesc   = desc("viewers", "Viewers being served, by technique.", "technique")
	viewsDesc     = desc("views_total", "Viewers served since the start, by technique.", "technique")
	accessDesc    = desc("access_refused_total", "Requests over HTTP that were refused access, by reason.", "reason")
	socketIODesc  = desc("socketio_ended_total", "Sessions of Socket.IO that have ended, by reason.", "reason")
	writesDesc    = desc("http_writes_total", "Writes over HTTP, by the status of the answer.", "status")
	buildInfoDesc = desc("build_info", "1, labelled with the version.", "version")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("naru_"+name, help, labels, nil)
}

// Describe sends nothing: the metrics are fixed by Collect.
func (c *gatewayCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *gatewayCollector) Collect(out chan<- prometheus.Metric) {
	counter := func(name, help string, v float64) {
		out <- prometheus.MustNewConstMetric(desc(name, help), prometheus.CounterValue, v)
	}
	gauge := func(name, help string, v float64) {
		out <- prometheus.MustNewConstMetric(desc(name, help), prometheus.GaugeValue, v)
	}
	out <- prometheus.MustNewConstMetric(buildInfoDesc, prometheus.GaugeValue, 1, versionString())

	in := c.pipeline.Stats()
	counter("readings_total", "Readings admitted.", float64(in.Readings))
	counter("messages_total", "Messages decoded, good or bad.", float64(in.Messages))
	counter("duplicates_total", "Retransmissions recognised by device and seq.", float64(in.Duplicates))
	counter("clock_wrong_total", "Readings whose time was replaced by the time of receipt.", float64(in.WrongClock))
	counter("acknowledged_total", "Acknowledgements sent to devices.", float64(in.Acknowledged))
	counter("acknowledgements_dropped_total", "Acknowledgements that could not be sent.", float64(in.LostAcks))
	for _, r := range ingest.Reasons() {
		out <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue,
			float64(c.pipeline.Inspector().Total(r)), r.String())
	}
	gauge("devices_waiting", "New devices that wait for approval.", float64(len(c.pipeline.Gate().Waiting())))
	gauge("devices_registered", "Devices in the registry.", float64(len(c.store.Registry().Registrations())))
	gauge("commands_open", "Commands to devices that want an outcome.", float64(c.store.Mailbox().Open()))
	counter("imported_readings_total", "Readings taken by imports.", float64(c.importer.taken.Load()))
	counter("import_refused_total", "Rows that imports refused.", float64(c.importer.refused.Load()))
	c.api.Writes(func(status int, n int64) {
		out <- prometheus.MustNewConstMetric(writesDesc, prometheus.CounterValue, float64(n), strconv.Itoa(status))
	})
	udp, tcp := (*gateway)(c).socketStats()
	counter("udp_datagrams_total", "Datagrams read.", float64(udp.Datagrams))
	counter("udp_kernel_drops_total", "Datagrams that the kernel dropped because the receive buffer was full.", float64(udp.KernelDrops))
	gauge("udp_receive_buffer_bytes", "Receive buffer that the kernel gave.", float64(c.received))
	if c.udp.DTLS != nil {
		c.collectDTLS(counter, gauge)
	}
	coap := (*gateway)(c).coapStats()
	counter("coap_requests_total", "Requests by CoAP, without retransmissions.", float64(coap.Requests))
	counter("coap_repeated_total", "Retransmissions of requests by CoAP.", float64(coap.Repeated))
	counter("coap_malformed_total", "Requests by CoAP that could not be read.", float64(coap.Malformed))
	counter("coap_throttled_total", "Requests by CoAP that were answered 4.29.", float64(coap.Throttled))
	counter("coap_unsent_total", "Answers by CoAP that were too long for who had sent little.", float64(coap.Unsent))
	gauge("coap_peers", "Peers by CoAP that are remembered.", float64(coap.Peers))
	gauge("tcp_connections", "Open streams from devices.", float64(tcp.Open))
	counter("tcp_accepted_total", "Streams accepted or refused.", float64(tcp.Accepted))

	secure := c.tls.Stats()
	gauge("tls_handshakes", "TLS handshakes under way.", float64(secure.Handshakes))
	counter("tls_handshakes_total", "TLS handshakes that went well.", float64(secure.Shaken))
	counter("tls_resumed_total", "Those of them that went on with an earlier session.", float64(secure.Resumed))
	counter("tls_handshakes_failed_total", "TLS handshakes that failed.", float64(secure.Failed))

	c.collectStore(counter, gauge)
	c.collectPush(out, counter, gauge)
}

func (c *gatewayCollector) collectPush(out chan<- prometheus.Metric, counter, gauge func(string, string, float64)) {
	p := c.feed.Stats()
	counter("pushed_readings_total", "Readings handed to viewers.", float64(p.Deliveries))
	counter("pushed_frames_total", "Messages handed to viewers.", float64(p.Frames))
	gauge("subscriptions", "Open subscriptions.", float64(p.Subscriptions))
	gauge("topics", "Distinct selections of the open subscriptions.", float64(p.Topics))
	c.guard.Refused(func(r auth.Refusal, n int64) {
		out <- prometheus.MustNewConstMetric(accessDesc, prometheus.CounterValue, float64(n), r.String())
	})
	gauge("access_tokens", "Access tokens beside the first.", float64(len(c.store.Access().Grants())))
	open, refused := c.door.stats()
	gauge("http_connections", "Open connections to the page and the API.", float64(open))
	counter("http_connections_refused_total", "Connections closed at once because there were too many.", float64(refused))
	counter("viewers_refused_total", "Viewers turned away because there were too many.", float64(c.live.Refused()))
	socketIO := c.live.SocketIOStats()
	counter("socketio_recovered_total", "Clients of Socket.IO that came again and went on.", float64(socketIO.Recovered))
	counter("socketio_begun_anew_total", "Clients of Socket.IO that came again and could not go on.", float64(socketIO.Anew))
	for reason, n := range socketIO.Ended {
		out <- prometheus.MustNewConstMetric(socketIODesc, prometheus.CounterValue, float64(n), reason)
	}
	for _, t := range live.Techniques() {
		now, total := c.live.Viewers(t)
		out <- prometheus.MustNewConstMetric(viewersDesc, prometheus.GaugeValue, float64(now), t.String())
		out <- prometheus.MustNewConstMetric(viewsDesc, prometheus.CounterValue, float64(total), t.String())
	}
}

func (c *gatewayCollector) collectStore(counter, gauge func(string, string, float64)) {
	s := c.store.Stats()
	counter("stored_readings_total", "Readings committed to the disk.", float64(s.Committed))
	counter("commits_total", "Group commits.", float64(s.Commits))
	counter("commit_errors_total", "Group commits that failed and were tried again.", float64(s.CommitErrors))
	counter("commit_seconds_total", "Time spent in commits.", s.CommitSum.Seconds())
	gauge("commit_max_seconds", "The longest commit since the start.", s.CommitMax.Seconds())
	counter("batch_bytes_total", "Encoded readings committed, in bytes.", float64(s.BatchBytes))
	counter("trimmed_readings_total", "Readings that left the log; they are in blocks.", float64(s.Trimmed))
	counter("flushed_readings_total", "Readings moved into blocks.", float64(s.Flushed))
	counter("history_commits_total", "Commits of the files of the history.", float64(s.ColdCommits))
	counter("history_errors_total", "Attempts to write the history that failed and are made again.", float64(s.KeepErrors))
	counter("history_files_sealed_total", "Files of the history that were sealed.", float64(s.Sealed))
	counter("history_files_retired_total", "Files of the history that retention deleted.", float64(s.Retired))
	counter("damaged_parts_total", "Blocks and entries of the history that could not be read.", float64(s.DamagedParts))
	gauge("unflushed_readings", "Readings in no block.", float64(s.Unflushed))
	gauge("history_bytes", "Size of the files of the history.", float64(s.HistoryBytes))
	gauge("history_files", "Files of the history.", float64(s.HistoryFiles))
	counter("damaged_batches_total", "Batches that could not be read.", float64(s.Damaged))
	counter("damaged_entries_total", "Entries of the catalogue that could not be read.", float64(s.DamagedNames))
	counter("store_put_aside_total", "Damaged files that were put aside at the start.", float64(s.FilesPutAside))
	gauge("pending_readings", "Readings that wait for a commit.", float64(s.Pending))
	gauge("store_file_bytes", "Size of the log's file.", float64(s.HotBytes))
	gauge("store_used_bytes", "Part of the log's file that holds something.", float64(s.UsedBytes))
	gauge("kept_offset_floor", "Offset up to which readings are no longer kept.", float64(s.Floor))
	gauge("head_offset", "Offset of the newest reading.", float64(s.Head))
	gauge("durable_offset", "Offset up to which readings are on the disk.", float64(s.Durable))
	gauge("devices", "Devices known.", float64(s.Devices))
	gauge("series", "Series known.", float64(s.Series))
}

func (c *gatewayCollector) collectDTLS(counter, gauge func(string, string, float64)) {
	s := c.udp.DTLS.Stats()
	gauge("dtls_sessions", "Sessions of devices.", float64(s.Sessions))
	gauge("dtls_sessions_kept", "Sessions that a restart would find.", float64(s.Kept))
	gauge("dtls_handshakes", "Handshakes under way.", float64(s.Handshakes))
	counter("dtls_handshakes_total", "Handshakes that made a session.", float64(s.Shaken))
	counter("dtls_handshakes_failed_total", "Handshakes that failed, of peers whose address is true.", float64(s.Failed))
	counter("dtls_strangers_total", "Handshakes that nobody went on with: scans and forged addresses.", float64(s.Strangers))
	counter("dtls_handshakes_evicted_total", "Handshakes that others pushed out.", float64(s.Evicted))
	counter("dtls_records_total", "Records with readings.", float64(s.Records))
	gauge("dtls_lost_records", "Records that have not come, by their numbers; some may still.", float64(s.Lost))
	counter("dtls_late_total", "Records that came behind a later one.", float64(s.Late))
	counter("dtls_repeated_total", "Records that had come before, or too late to tell.", float64(s.Repeated))
	counter("dtls_forged_total", "Records that were not authentic.", float64(s.Forged))
	counter("dtls_strays_total", "Records that belong to no session, or are broken.", float64(s.Strays))
	counter("dtls_unsent_total", "Answers that could not be sent.", float64(s.Unsent))
}
