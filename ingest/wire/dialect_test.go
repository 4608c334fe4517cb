package wire

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The samples are what the named program sends, or stand in its documentation.

func TestDecodeStatsD(t *testing.T) {
	runDecode(t, false, []decodeCase{
		// python3-statsd 4.0.1, prefix greenhouse, captured
		{"incr", "greenhouse.opened:1|c", []string{"statsd greenhouse: opened=1i"}},
		{"incr sampled", "greenhouse.opened:3|c|@0.5", []string{"statsd greenhouse: opened=6"}},
		{"decr", "greenhouse.opened:-1|c", []string{"statsd greenhouse: opened=-1i"}},
		{"gauge", "greenhouse.temp:21.5|g", []string{"statsd greenhouse: temp=21.5"}},
		{"negative gauge", "greenhouse.temp:0|g\ngreenhouse.temp:-3.25|g", []string{"statsd greenhouse: temp=-3.25"}},
		{"gauge plus", "greenhouse.temp:+1|g", []string{"statsd (line 1, byte 17: a gauge that changes by +n is no reading, since its former value is not kept; send the value itself)"}},
		{"gauge minus", "greenhouse.temp:-1|g", []string{"statsd greenhouse: temp=-1i"}},
		{"timer", "greenhouse.pump.run:320.000000|ms", []string{"statsd greenhouse: pump.run=320"}},
		{"set", "greenhouse.users:alice|s", []string{`statsd greenhouse: users="alice"`}},
		{"pipeline", "greenhouse.temp:0|g\ngreenhouse.temp:-40|g\ngreenhouse.a:1|c\ngreenhouse.t:1.500000|ms", []string{
			"statsd greenhouse: temp=-40i", "statsd greenhouse: a=1i", "statsd greenhouse: t=1.5",
		}},
		// ESPHome, components/statsd/statsd.cpp: "%s:%f|g\n", and zero first below zero
		{"ESPHome", "esp1.temp:21.500000|g\nesp1.out:0|g\nesp1.out:-21.500000|g\nesp1.door:1.000000|g\n", []string{
			"statsd esp1: temp=21.5", "statsd esp1: out=-21.5", "statsd esp1: door=1",
		}},
		{"zero that stays", "t:0|g\nt:1|g\nu:0|g\nuu:-1|g\nv:0|g", []string{"statsd: t=0i", "statsd: t=1i", "statsd: u=0i", "statsd: uu=-1i", "statsd: v=0i"}},
		{"zero and carriage returns", "t:0|g\r\nt:-1|g\r\n", []string{"statsd: t=-1i"}},
		// statsd/statsd, docs/metric_types.md
		{"counter", "gorets:1|c", []string{"statsd: gorets=1i"}},
		{"tenth", "glork:320|ms|@0.1", []string{"statsd: glork=320i"}},
		{"set of numbers", "uniques:765|s", []string{"statsd: uniques=765i"}},
		// DogStatsD, datagram format
		{"tags", "users.online:1|c|@0.5|#country:china,host:web1,beta", []string{"statsd web1: users.online{beta=true,country=china}=2"}},
		{"packed values", "page.views:1:2:32|d", []string{"statsd page: views=1i views=2i views=32i"}},
		{"time and container", "page.views:15|c|#device:a|T1656581400|c:83c0a99c", []string{"statsd a @1656581400s: page.views=15i"}},
		{"event", "_e{5,4}:title|text", []string{"line (line 1, byte 6: a tag must be key=value)"}},
		// Telegraf's InfluxDB style
		{"tags in the name", "cpu,host=a,core=0:5|g", []string{"statsd a: cpu{core=0}=5i"}},
		{"not a number", "temp:abc|g", []string{"statsd (line 1, byte 6: the value of a gauge must be a number)"}},
		{"nan", "temp:nan|g", []string{"statsd: temp=NaN"}},
		{"rate", "a:5|c|@2", []string{"statsd (line 1, byte 7: a sample rate is more than 0 and at most 1)"}},
		{"type", "a:5|q", []string{"line (line 1, byte 6: fields are missing: want measurement[,tag=value] field=value [time])"}},
		{"bad among good", "a:1|c\na:x|c\nm v=1\na:2|c", []string{
			"statsd: a=1i", "statsd (line 2, byte 3: the value of a counter must be a number)", "line: m.v=1", "statsd: a=2i",
		}},
	})
}

// TestStatsDStream: a line of a stream says by itself what it says.
func TestStatsDStream(t *testing.T) {
	runDecode(t, true, []decodeCase{{"zero first", "t:0|g\nt:-1|g\n", []string{"statsd: t=0i", "statsd: t=-1i"}}})
}

func TestDecodeGraphite(t *testing.T) {
	runDecode(t, false, []decodeCase{
		{"collectd 5.12 write_graphite, captured", "pi-gw.load.load.shortterm 4.810546875 1795678084\r\npi-gw.memory.memory-free 20002537472 1795678084\r\n", []string{
			"graphite pi-gw @1795678084s: load.load.shortterm=4.810546875",
			"graphite pi-gw @1795678084s: memory.memory-free=20002537472i",
		}},
		{"tags", "disk.used;datacenter=dc1;host=web01 42 1764000000", []string{"graphite web01 @1764000000s: disk.used{datacenter=dc1}=42i"}},
		{"the server's time", "a.b 42 -1\na.b 43 N", []string{"graphite a: b=42i", "graphite a: b=43i"}},
		{"no path", "uptime 5 1764000000", []string{"graphite @1764000000s: uptime=5i"}},
		{"decimals in the time", "a.b 5 1764000000.25", []string{"graphite a @1764000000.25s: b=5i"}},
		{"nan", "a.b NaN 1764000000", []string{"graphite a @1764000000s: b=NaN"}},
		{"bad tag", "a;b 5 1764000000", []string{"graphite (line 1, byte 3: a tag must be ;key=value)"}},
		{"two parts", "a.b c", []string{"line (line 1, byte 5: a field must be key=value)"}},
		{"four parts", "a.b c 1 2", []string{"line (line 1, byte 5: a field must be key=value)"}},
	})
}

func TestDecodeTeleplot(t *testing.T) {
	runDecode(t, false, []decodeCase{ // nesnes/teleplot, README
		{"value", "myValue:1234", []string{"teleplot: myValue=1234i"}},
		{"empty flags", "myValue:1234|", []string{"teleplot: myValue=1234i"}},
		{"exponent", "myValue:12.34e+2", []string{"teleplot: myValue=1234"}},
		{"time", "myValue:1627551892437:1234", []string{"teleplot @1627551892437ms: myValue=1234i"}},
		{"its Python client", "sin:1627551892437.52:-0.5", []string{"teleplot @1627551892437.52ms: sin=-0.5"}},
		{"time since the start", "myValue:5000:1234", []string{"teleplot: myValue=1234i"}},
		{"text", "motor_4_state:Turned On|t", []string{`teleplot: motor_4_state="Turned On"`}},
		{"text and time", "motor_4_state:1627551892437:Off|t", []string{`teleplot @1627551892437ms: motor_4_state="Off"`}},
		{"unit", "myValue:1234§km²", []string{"teleplot: myValue=1234i"}},
		{"xy", "trajectory:12.3:45.67|xy,np", []string{"teleplot: trajectory.x=12.3 trajectory.y=45.67"}},
		{"many and other lines", "myValue:1627551892444:1;1627551892555:2§rad\nb:5", []string{
			"teleplot @1627551892444ms: myValue=1i", "teleplot @1627551892555ms: myValue=2i", "teleplot: b=5i",
		}},
		{"many xy", "trajectory:1:1:1627551892437;2:2:1627551892448|xy", []string{
			"teleplot @1627551892437ms: trajectory.x=1i trajectory.y=1i", "teleplot @1627551892448ms: trajectory.x=2i trajectory.y=2i",
		}},
		{"shared with StatsD", "myValue:1234|g", []string{"statsd: myValue=1234i"}},
		{"a time tells it from StatsD", "myValue:1627551892437:-4|g", []string{"teleplot @1627551892437ms: myValue=-4i"}},
		{"serial monitor", ">temp:5", []string{"teleplot: temp=5i"}},
		{"3D", "3D|mySimpleCube:S:cube:P:1:1:1", []string{"teleplot (line 1, byte 1: a 3D shape is no reading)"}},
		{"log", ">:Hello world", []string{"line (line 1, byte 9: a field must be key=value)"}},
		{"header of a mail", "Content-Type: text", []string{"line (line 1, byte 15: a field must be key=value)"}},
		{"clock", "12:30", []string{"line (line 1, byte 6: fields are missing: want measurement[,tag=value] field=value [time])"}},
	})
}

func TestDecodePairs(t *testing.T) {
	runDecode(t, false, []decodeCase{
		// ESPEasy C010: %sysname%_%tskname%_%valname%=%value%
		{"ESPEasy", "ESP_Easy_BME280_Temperature=21.50", []string{"kv: ESP_Easy_BME280_Temperature=21.5"}},
		{"commas", "temp=21.5,hum=40,state=on", []string{`kv: temp=21.5 hum=40i state="on"`}},
		{"blanks", "temp=21.5 hum=40", []string{"kv: temp=21.5 hum=40i"}},
		{"ampersands", "temp=21.5&ok=true", []string{"kv: temp=21.5 ok=true"}},
		{"reserved", "device=gh1 temp=21.5 seq=7 ack=1 time=1764000000", []string{"kv gh1 @1764000000s seq=7 ack: temp=21.5"}},
		{"device before host before id", "id=7;host=a;t=1", []string{"kv a: t=1i id=7i"}},
		{"device with a space", `device="living room",t=1`, []string{"kv living-room: t=1i"}},
		{"Arduino's plotter", "a:1,b:2,\r\na:1\tb:2", []string{"kv: a=1i b=2i", "kv: a=1i b=2i"}},
		{"comma and blank", "a=1, b=2", []string{"kv: a=1i b=2i"}},
		{"nan", "temp=nan", []string{"kv: temp=NaN"}},
		{"decimal comma", "temp=21,5", []string{"line (line 1, byte 9: a tag must be key=value; decimals want a point, not a comma)"}},
		{"nothing but text", "state=on", []string{"line (line 1, byte 9: fields are missing: want measurement[,tag=value] field=value [time])"}},
		{"fields without a measurement", "temp=21.5,hum=40i", []string{"line (line 1, byte 18: fields are missing: want measurement[,tag=value] field=value [time])"}},
		{"line protocol with a time", "a=1 v=2 1764000000", []string{"line @1764000000s: a=1.v=2"}},
		{"line protocol with tags", "a=1,b=c v=2", []string{"line: a=1.v{b=c}=2"}},
		{"seq", "a=1 seq=x", []string{"kv (line 1, byte 5: seq must be an integer, not negative)"}},
		{"time", "a=1,time=x", []string{"kv (line 1, byte 5: time must be a number (seconds, milli-, micro- or nanoseconds since 1970, or seconds ago) or like 2026-11-23T10:00:00Z)"}},
	})
}

func TestDecodeCSV(t *testing.T) {
	runDecode(t, false, []decodeCase{
		{"numbers", "gh1,21.5,40", []string{"csv gh1: value.0=21.5 value.1=40i"}},
		{"one", "gh1,21.5", []string{"csv gh1: value=21.5"}},
		{"names", "gh1,temp,21.5,hum,40", []string{"csv gh1: temp=21.5 hum=40i"}},
		{"semicolons and a hole", "gh1;21.5;;true", []string{"csv gh1: value.0=21.5 value.2=true"}},
		{"address and blanks", "aa:bb:cc:dd:ee:ff, 21.5, 40", []string{"csv aa:bb:cc:dd:ee:ff: value.0=21.5 value.1=40i"}},
		{"failed sensor", "gh1,nan,40", []string{"csv gh1: value.0=NaN value.1=40i"}},
		{"no device", "21.5,40", []string{"line (line 1, byte 6: a tag must be key=value; decimals want a point, not a comma)"}},
		{"text", "gh1,21.5,hot", []string{"line (line 1, byte 5: a tag must be key=value)"}},
		{"tags", "climate,device=gh1", []string{"line (line 1, byte 19: fields are missing: want measurement[,tag=value] field=value [time])"}},
	})
}

func TestDecodeTopic(t *testing.T) {
	runDecode(t, false, []decodeCase{
		// Tasmota 13, its console: topic = payload; an MQTT client with -v: topic payload
		{"Tasmota STATE", `tele/tasmota_9CF9D1/STATE = {"Time":"2024-02-24T22:20:38","Uptime":"0T00:10:11","UptimeSec":611,"POWER":"OFF","Wifi":{"AP":1,"RSSI":44,"Signal":-78}}`, []string{
			`tasmota tasmota_9CF9D1: Uptime="0T00:10:11" UptimeSec=611i POWER="OFF" Wifi.AP=1i Wifi.RSSI=44i Wifi.Signal=-78i`,
		}},
		{"Tasmota SENSOR", `tele/tasmota_C59B5E/SENSOR {"Time":"2021-06-13T06:59:52","ANALOG":{"CTEnergy":{"Energy":0.006,"Power":2068}},"DHT11":{"Temperature":23.0},"TempUnit":"C"}`, []string{
			`tasmota tasmota_C59B5E: ANALOG.CTEnergy.Energy=0.006 ANALOG.CTEnergy.Power=2068i DHT11.Temperature=23 TempUnit="C"`,
		}},
		{"Tasmota STATUS10", `stat/tasmota_C59B5E/STATUS10 = {"StatusSNS":{"Time":"2021-06-13T06:59:49","DHT11":{"Temperature":23.0}}}`, []string{"tasmota tasmota_C59B5E: StatusSNS.DHT11.Temperature=23"}},
		{"Tasmota, time with a zone", `tele/p/SENSOR {"Time":"2021-06-13T06:59:52+02:00","a":1}`, []string{"tasmota p @1623560392s: a=1i"}},
		{"Tasmota, %topic%/%prefix%", `plug/tele/SENSOR {"Time":"2021-06-13T06:59:52","a":1}`, []string{"tasmota plug: a=1i"}},
		{"Tasmota, no object", "stat/plug/POWER ON\ntele/plug/LWT Online", []string{`tasmota plug: POWER="ON"`, `tasmota plug: LWT="Online"`}},
		{"Tasmota, command", "cmnd/plug/POWER ON", []string{"tasmota:"}},
		{"Tasmota, object alone", `{"Time":"2024-02-24T22:20:38","ENERGY":{"Power":5,"Voltage":[230,231]}}`, []string{"tasmota: ENERGY.Power=5i ENERGY.Voltage.0=230i ENERGY.Voltage.1=231i"}},
		{"Time that is not first", `{"a":1,"Time":"2024-02-24T22:20:38"}`, []string{`json: a=1i Time="2024-02-24T22:20:38"`}},
		// Zigbee2MQTT, its log and its documentation
		{"Zigbee2MQTT", `zigbee2mqtt/Temperatur Wohnung {"battery":97,"humidity":45.07,"linkquality":224,"temperature":21.58}`, []string{
			"zigbee2mqtt Temperatur-Wohnung: battery=97i humidity=45.07 linkquality=224i temperature=21.58",
		}},
		{"Zigbee2MQTT, last seen", `zigbee2mqtt/Temperature_Lyne {"battery":97,"last_seen":"2024-01-01T19:10:43+01:00","temperature":19.34}`, []string{"zigbee2mqtt Temperature_Lyne @1704132643s: battery=97i temperature=19.34"}},
		{"Zigbee2MQTT, umlaut", `zigbee2mqtt/Kühlschrank Küche {"temperature":6.75}`, []string{"zigbee2mqtt K-hlschrank-K-che: temperature=6.75"}},
		{"Zigbee2MQTT, folder", `zigbee2mqtt/kitchen/floor_light {"state":"ON","device":{"ieeeAddr":"0x1"},"update":{"state":"idle"},"identify":null}`, []string{`zigbee2mqtt kitchen-floor_light: state="ON" update.state="idle"`}},
		{"Zigbee2MQTT, availability", `zigbee2mqtt/x/availability {"state":"online"}`, []string{`zigbee2mqtt x: state="online"`}},
		{"Zigbee2MQTT, attributes", "zigbee2mqtt/Living room/temperature 21.5", []string{"zigbee2mqtt Living-room: temperature=21.5"}},
		{"Zigbee2MQTT, bridge", `zigbee2mqtt/bridge/devices [{"a":1}]`, []string{"zigbee2mqtt:"}},
		{"Zigbee2MQTT, command", `zigbee2mqtt/x/set {"state":"ON"}`, []string{"zigbee2mqtt:"}},
		{"object", `home/OMG/BTtoMQTT/AABBCC {"id":"AA:BB:CC","tempc":21.5}`, []string{`topic AABBCC: id="AA:BB:CC" tempc=21.5`}},
		{"object with a device", `home/x {"device":"gh1","time":1764000000,"t":1}`, []string{"topic gh1 @1764000000s: t=1i"}},
		{"number", "home/kitchen/temp 21.5", []string{"topic kitchen: temp=21.5"}},
		{"discovery", `homeassistant/sensor/x/config {"device":{"a":1}}`, []string{"topic:"}},
		{"text", "home/kitchen/temp hot", []string{"line (line 1, byte 19: a field must be key=value)"}},
		{"cut off", `home/kitchen {"a":1,`, []string{"topic (line 1, byte 21: the JSON text ends too early)"}},
		{"behind the object", `home/kitchen {"a":1} {"b":2}`, []string{"topic (line 1, byte 21: unexpected text after the object)"}},
	})
}

func TestDecodeShelly(t *testing.T) {
	runDecode(t, false, []decodeCase{
		{"documentation", `{"src":"shellypro4pm-f008d1d8b8b8","dst":"user_1","method":"NotifyStatus","params":{"ts":1631186545.04,"switch:0":{"id":0,"output":true,"source":"button"}}}`, []string{
			`shelly shellypro4pm-f008d1d8b8b8 @1631186545.04s: switch:0.output=true switch:0.source="button"`,
		}},
		{"1PM Mini Gen3", `{"src":"shelly1pmminig3-e4b323133734","dst":"ShellyLichtGarten/events","method":"NotifyStatus","params":{"ts":1788945300.02,"switch:0":{"counts":{"on_above_thr":0,"on_time":241680}}}}`, []string{
			"shelly shelly1pmminig3-e4b323133734 @1788945300.02s: switch:0.counts.on_above_thr=0i switch:0.counts.on_time=241680i",
		}},
		{"event", `{"src":"shellyplus1-a8032abe54dc","dst":"u","method":"NotifyEvent","params":{"ts":1631266595.44,"events":[{"component":"input:0","id":0,"event":"single_push","ts":1631266595.44}]}}`, []string{
			`shelly shellyplus1-a8032abe54dc @1631266595.44s: input:0.event="single_push"`,
		}},
		{"no clock yet", `{"src":"s","method":"NotifyStatus","params":{"ts":5.32,"sys":{"uptime":5}}}`, []string{"shelly s: sys.uptime=5i"}},
		{"other call", `{"src":"s","method":"Switch.Set","params":{"id":0}}`, []string{`json: src="s" method="Switch.Set" params.id=0i`}},
		{"a sensor of this name", `{"src":"north","temp":1}`, []string{`json: src="north" temp=1i`}},
		{"cut off", `{"src":"s","method":"NotifyStatus","params":{"ts":1`, []string{`json (line 1, byte 52: the JSON text ends too early)`}},
	})
}

func TestDecodeSyslog(t *testing.T) {
	runDecode(t, false, []decodeCase{
		{"rtl_433 22.11, captured", `<165>1 2026-11-26T07:28:14Z vm rtl_433 - - - {"time":"2026-11-26 07:28:14","model":"Chuango-Security","id":19746,"cmd":"Single Delay Zone","cmd_id":10}`, []string{
			`rtl_433 Chuango-Security-19746 @1795678094s: cmd="Single Delay Zone" cmd_id=10i`,
		}},
		{"rtl_433, documentation", `<165>1 2019-08-29T06:38:19Z raspi.fritz.box rtl_433 - - - {"time":"2019-08-29 08:38:19","model":"Nexus-TH","id":42,"channel":2,"battery_ok":1,"temperature_C":20.5,"humidity":83}`, []string{
			"rtl_433 Nexus-TH-2-42 @1567060699s: battery_ok=1i temperature_C=20.5 humidity=83i",
		}},
		{"rtl_433 -F json", `{"time":"2019-08-29 08:38:19","model":"Nexus-TH","id":42,"channel":2,"temperature_C":20.5}`, []string{"rtl_433 Nexus-TH-2-42: temperature_C=20.5"}},
		// Tasmota, support.ino: SyslogAsync, the present format and the one before
		{"Tasmota", `<134>1 2024-02-24T22:20:38.378000+01:00 wemos5 tasmota - - -MQT: tele/tasmota_9CF9D1/SENSOR = {"Time":"2024-02-24T22:20:38","Switch1":"ON"} (retained)`, []string{
			`tasmota tasmota_9CF9D1 @1708809638.378s: Switch1="ON"`,
		}},
		{"Tasmota without MQTT", `<134>wemos5 ESP-RSL: SENSOR = {"Time":"2024-02-24T22:20:38","Switch1":"ON"}`, []string{`tasmota wemos5: Switch1="ON"`}},
		{"Tasmota, RFC 3164", `<134>Jan  1 00:00:02 wemos5 ESP-MQT: stat/plug/POWER = ON`, []string{`tasmota plug: POWER="ON"`}},
		{"no reading", "<134>wemos5 ESP-HTP: Web server active on wemos5 with IP address 192.168.2.172", []string{"syslog:"}},
		{"object of another", `<30>1 - h app - - [a b="]"] {"temp":5}`, []string{"syslog h: temp=5i"}},
		{"cut off", "<165>1 2026", []string{"syslog (line 1, byte 1: want <priority>1 time host app procid msgid - text)"}},
	})
}

func packed(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecodeGzip(t *testing.T) {
	line := strings.Repeat("x", 1000) + " v=1\n"
	good := packed(t, []byte("cpu,host=a v=1\ntemp:5|g\n{\"device\":\"b\",\"v\":2}"))
	bad := bytes.Clone(good)
	bad[len(bad)-5] ^= 1 // of the checksum
	for _, c := range []struct {
		name  string
		in    []byte
		want  []string
		fault Fault
	}{
		{"good", good, []string{"line a: cpu.v=1", "statsd: temp=5i", "json b: v=2i"}, Malformed},
		{"nothing", packed(t, nil), nil, Malformed},
		{"damaged", bad, []string{"gzip (byte 1: the packed data are damaged)"}, Malformed},
		{"cut off", good[:len(good)-9], []string{"gzip (byte 1: the packed data are damaged)"}, Malformed},
		{"bomb", packed(t, []byte(strings.Repeat(line, maxUnpacked/len(line)+1))), []string{"gzip (byte 1: unpacked this is more than 256 KiB)"}, Oversized},
		{"packed twice", packed(t, good), []string{"gzip (byte 1: what is unpacked is packed again)"}, Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			for range 2 { // the second time with what the first has left
				d.Reset(c.in, false)
				var got []string
				for d.Next() {
					m, err := d.Message()
					got = append(got, render(m, err))
					if e, ok := err.(*SyntaxError); ok && e.Fault != c.fault { //nolint:errorlint // never wrapped
						t.Errorf("fault %d, want %d", e.Fault, c.fault)
					}
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
	if got := decodeAll(good, true); len(got) == 0 || strings.HasPrefix(got[0], "line a") {
		t.Errorf("unpacked in a stream: %q", got)
	}
}

// TestAccept: a decoder that is pinned takes nothing else, and speaks of what it
// takes.
func TestAccept(t *testing.T) {
	for _, c := range []struct {
		accept string
		in     string
		want   []string
	}{
		{"statsd", "a:1|c\nm v=1\n{\"v\":1}", []string{
			"statsd: a=1i", "statsd (line 2, byte 1: want name:value|type)", "json (line 3, byte 1: this is json, and what is taken here is statsd)",
		}},
		{"statsd", "a:1:2|g", []string{"statsd: a=1i a=2i"}},
		{"graphite", "a.b 5 7\na 5", []string{"graphite a @7ago: b=5i", "graphite (line 2, byte 1: want path, value and time, parted by spaces)"}},
		{"teleplot", "a:1|g\nb", []string{"teleplot: a=1i", "teleplot (line 2, byte 1: want name:value, with §unit and |flags if any)"}},
		{"teleplot", "a:1;x;2", []string{"teleplot: a=1i", "teleplot (line 1, byte 5: want a number, or the flag |t behind a text)", "teleplot: a=2i"}},
		{"kv", "a=on\na", []string{`kv: a="on"`, "kv (line 2, byte 1: want key=value, and decimals with a point)"}},
		{"csv", "a,1\na=1", []string{"csv a: value=1i", "csv (line 2, byte 1: want device,number,… or device,name,number,… with decimals that have a point)"}},
		{"line", "temp=21.5 hum=40\na:1|c", []string{"line: temp=21.5.hum=40", "line (line 2, byte 6: fields are missing: want measurement[,tag=value] field=value [time])"}},
		{"line graphite", "m v=1\na 1 2\na:1|c", []string{"line: m.v=1", "graphite @2ago: a=1i", "line (line 3, byte 6: fields are missing: want measurement[,tag=value] field=value [time])"}},
		{"statsd graphite", "m v=1", []string{"unknown (line 1, byte 1: this is none of what is taken here: statsd, graphite)"}},
		{"json", `{"Time":"2024-02-24T22:20:38","a":1}`, []string{`json: Time="2024-02-24T22:20:38" a=1i`}},
		{"tasmota", "tele/x/SENSOR {\"a\":1}\na/b 5", []string{"tasmota x: a=1i", "topic (line 2, byte 1: this is topic, and what is taken here is tasmota)"}},
		{"shelly", `{"v":1}`, []string{"json (line 1, byte 1: this is json, and what is taken here is shelly)"}},
		{"cbor", "\xa1\x61v\x01", []string{"cbor: v=1i"}},
		{"line", "\xa1\x61v\x01", []string{"cbor (byte 1: this is cbor, and what is taken here is line)"}},
	} {
		t.Run(c.accept, func(t *testing.T) {
			set, err := ParseFormats(strings.Fields(c.accept))
			if err != nil {
				t.Fatal(err)
			}
			d := Decoder{Accept: set}
			d.Reset([]byte(c.in), false)
			var got []string
			for d.Next() {
				m, err := d.Message()
				got = append(got, render(m, err))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.in, diff)
			}
		})
	}
	_, err := ParseFormats([]string{"statsd", "mqtt"})
	want := `there is no dialect "mqtt"; there are line, json, senml, cbor, senml-cbor, statsd, graphite, topic, tasmota, ` +
		"zigbee2mqtt, teleplot, kv, csv, syslog, rtl_433, shelly, esphome, collectd, gzip"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
