package api

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/naru-telemetry/naru/device"
)

// Setup says how a device is told where to send and with which secrets.
type Setup struct {
	// URI is all of it in one text, for a phone: naru://192.168.1.20:7700/gh1?psk=…
	URI string `json:"uri"`
	// QR is the URI as a QR code: a text for each row, # for a dark module. The
	// quiet zone of 4 modules around it is not in it.
	QR []string `json:"qr"`
	// Snippets are what a person copies, the command to try first.
	Snippets []Snippet `json:"snippets"`
}

// Snippet is a command or a piece of a program.
type Snippet struct {
	Platform string `json:"platform"`
	Text     string `json:"text"`
}

// NewSetup returns how the device is told its secrets.
func NewSetup(id device.ID, s NewSecrets, about About) *Setup {
	host := "127.0.0.1"
	if len(about.Addresses) > 0 {
		host = about.Addresses[0]
	}
	at := target{id: string(id), host: host, udp: about.UDP, tcp: about.TCP}
	q := url.Values{}
	if s.PSK != "" {
		q.Set("psk", s.PSK)
	}
	if s.Token != "" {
		q.Set("token", s.Token)
	}
	port := about.UDP
	if port == 0 {
		port = about.TCP
	}
	u := url.URL{Scheme: "naru", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/" + string(id), RawQuery: q.Encode()}
	out := &Setup{URI: u.String(), Snippets: []Snippet{}}
	out.QR = qrRows(out.URI)
	if s.PSK != "" && at.udp != 0 {
		out.Snippets = append(out.Snippets, at.psk(s.PSK)...)
	}
	if s.Token != "" {
		out.Snippets = append(out.Snippets, at.token(s.Token)...)
	}
	return out
}

// target is where a device sends.
type target struct {
	id, host string
	udp, tcp int // ports; 0: none
}

// psk returns snippets for DTLS 1.2. The id needs no quoting anywhere.
func (t target) psk(key string) []Snippet {
	return []Snippet{
		{"shell (openssl)", fmt.Sprintf(
			"(echo 'climate temp=21.5'; sleep 1) | openssl s_client -quiet -no_ign_eof -dtls1_2 -connect %s -psk_identity %s -psk %s -cipher PSK-AES128-GCM-SHA256",
			net.JoinHostPort(t.host, strconv.Itoa(t.udp)), t.id, key)},
		{"C (mbedTLS: ESP-IDF, Arduino-ESP32)", fmt.Sprintf(`static const unsigned char psk[] = {%s};
static const char identity[] = "%s";
mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_DATAGRAM, MBEDTLS_SSL_PRESET_DEFAULT);
mbedtls_ssl_conf_psk(&conf, psk, sizeof psk, (const unsigned char *)identity, strlen(identity));
mbedtls_net_connect(&net, "%s", "%d", MBEDTLS_NET_PROTO_UDP);`, cBytes(key), t.id, t.host, t.udp)},
		{"C (Zephyr)", fmt.Sprintf(`static const unsigned char psk[] = {%s};
static const char identity[] = "%s";
tls_credential_add(1, TLS_CREDENTIAL_PSK, psk, sizeof psk);
tls_credential_add(1, TLS_CREDENTIAL_PSK_ID, identity, sizeof identity - 1);
int s = zsock_socket(AF_INET, SOCK_DGRAM, IPPROTO_DTLS_1_2); /* then SOL_TLS, TLS_SEC_TAG_LIST {1}; connect to %s port %d */`,
			cBytes(key), t.id, t.host, t.udp)},
	}
}

// token returns snippets for a token beside the readings.
func (t target) token(token string) (out []Snippet) {
	network, port, nc := "SOCK_DGRAM", t.udp, "nc -u -w1"
	if port == 0 {
		network, port, nc = "SOCK_STREAM", t.tcp, "nc -w1"
	}
	if port == 0 {
		return nil
	}
	line := fmt.Sprintf("climate,device=%s,token=%s temp=21.5", t.id, token)
	out = append(out, Snippet{"shell", fmt.Sprintf("echo '%s' | %s %s %d", line, nc, t.host, port)})
	out = append(out, Snippet{"Python, MicroPython", fmt.Sprintf(`import socket
s = socket.socket(socket.AF_INET, socket.%s)
s.connect(("%s", %d))
s.send(b"%s\n")`, network, t.host, port, line)})
	if t.udp != 0 {
		out = append(out, Snippet{"Arduino (ESP32, ESP8266)", fmt.Sprintf(`WiFiUDP udp;
udp.beginPacket("%s", %d);
udp.printf("climate,device=%s,token=%s temp=%%.1f\n", temperature);
udp.endPacket();`, t.host, t.udp, t.id, token)})
	}
	return out
}

// cBytes writes hex as the elements of a C array.
func cBytes(hex string) string {
	var parts []string
	for i := 0; i+1 < len(hex); i += 2 {
		parts = append(parts, "0x"+hex[i:i+2])
	}
	return strings.Join(parts, ",")
}
