/*
 * A device in C with mbedTLS 2.28 or 3: readings as JSON over DTLS with a pre-shared
 * key, each sent again until the gateway has acknowledged it. The session is kept; one
 * in which nothing is answered is replaced.
 *
 *   naru device add greenhouse-1 --psk            # on the gateway; prints the key
 *   cc -Wall -Wextra -o telemetry telemetry.c -lmbedtls -lmbedx509 -lmbedcrypto
 *   ./telemetry 192.168.1.20 7700 greenhouse-1 000102030405060708090a0b0c0d0e0f [SECONDS]
 *
 * On a microcontroller mbedtls_net_* and mbedtls_timing_* are what the platform has.
 */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/timing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The client's order decides: forward secrecy first, then what is smallest. */
static const int suites[] = {
	MBEDTLS_TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, 0,
};

static mbedtls_ssl_context ssl;
static mbedtls_ssl_config conf;
static mbedtls_net_context net = {-1}; /* none is open yet */
static mbedtls_timing_delay_context timer;
static mbedtls_ctr_drbg_context drbg;
static mbedtls_entropy_context entropy;

static char outcome[64]; /* of the command that came last: "3 on" */
static unsigned long last_id;
static int relay, untold;

/* configure prepares for sessions of this device. */
static int configure(const char *id, const unsigned char *psk, size_t psk_len)
{
	mbedtls_ssl_config_init(&conf);
	mbedtls_ctr_drbg_init(&drbg);
	mbedtls_entropy_init(&entropy);
	if (mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0) != 0 ||
	    mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_DATAGRAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		return -1;
	mbedtls_ssl_conf_rng(&conf, mbedtls_ctr_drbg_random, &drbg);
	mbedtls_ssl_conf_ciphersuites(&conf, suites);
	return mbedtls_ssl_conf_psk(&conf, psk, psk_len, (const unsigned char *)id, strlen(id));
}

/* shake opens a session. While the device has two keys on the gateway, the first try
 * may end with an alert, so that it takes two. */
static int shake(const char *host, const char *port)
{
	int ret = -1;

	for (int try = 0; try < 2 && ret != 0; try++) {
		mbedtls_ssl_free(&ssl);
		mbedtls_net_free(&net);
		mbedtls_ssl_init(&ssl);
		mbedtls_net_init(&net);
		if ((ret = mbedtls_net_connect(&net, host, port, MBEDTLS_NET_PROTO_UDP)) != 0 || (ret = mbedtls_ssl_setup(&ssl, &conf)) != 0)
			return ret;
		mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, NULL, mbedtls_net_recv_timeout);
		mbedtls_ssl_set_timer_cb(&ssl, &timer, mbedtls_timing_set_delay, mbedtls_timing_get_delay);
		do
			ret = mbedtls_ssl_handshake(&ssl);
		while (ret == MBEDTLS_ERR_SSL_WANT_READ || ret == MBEDTLS_ERR_SSL_WANT_WRITE);
	}
	return ret;
}

/* obey carries out the command in an answer, once, and has its outcome told. */
static void obey(const char *answer)
{
	const char *c = strstr(answer, "\"command\":");
	unsigned long id;
	char name[65];

	if (!c || sscanf(c, "\"command\":{\"id\":%lu,\"device\":\"%*[^\"]\",\"name\":\"%64[^\"]\"", &id, name) != 2)
		return;
	untold = 1;
	if (id == last_id)
		return;
	last_id = id;
	if (strcmp(name, "relay") == 0)
		snprintf(outcome, sizeof outcome, "%lu %s", id, (relay = strstr(c, "\"value\":true") != NULL) ? "on" : "off");
	else
		snprintf(outcome, sizeof outcome, "%lu error: unknown command", id);
}

/* deliver sends a message until it is answered. It returns 0 then, else why the session
 * is of no use any more. */
static int deliver(const char *message, unsigned long seq)
{
	char answer[1024], want[32], refusal[32];
	int ret = MBEDTLS_ERR_SSL_TIMEOUT;

	snprintf(want, sizeof want, "{\"ack\":%lu", seq);
	snprintf(refusal, sizeof refusal, "\"seq\":%lu", seq);
	for (unsigned wait = 1000; wait <= 16000 && ret == MBEDTLS_ERR_SSL_TIMEOUT; wait *= 2) {
		if ((ret = mbedtls_ssl_write(&ssl, (const unsigned char *)message, strlen(message))) < 0)
			return ret;
		mbedtls_ssl_conf_read_timeout(&conf, wait);
		while ((ret = mbedtls_ssl_read(&ssl, (unsigned char *)answer, sizeof answer - 1)) > 0) {
			answer[ret] = 0;
			if (strncmp(answer, want, strlen(want)) == 0)
				untold = 0;
			else if (!strstr(answer, refusal))
				continue; /* to an earlier message */
			else
				fprintf(stderr, "refused: %s\n", answer);
			obey(answer);
			return 0;
		}
	}
	return ret ? ret : MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY;
}

int main(int argc, char **argv)
{
	unsigned char psk[64];
	size_t psk_len = 0;
	int up = 0, ret;

	for (const char *hex = argc > 4 ? argv[4] : ""; psk_len < sizeof psk && sscanf(hex, "%2hhx", &psk[psk_len]) == 1; hex += 2)
		psk_len++;
	if (psk_len == 0 || configure(argv[3], psk, psk_len) != 0) {
		fprintf(stderr, "usage: %s HOST PORT DEVICE KEY [SECONDS]\n", argv[0]);
		return 2;
	}
	for (unsigned long seq = 1;; seq++) {
		char message[256], told[80] = "";
		if (untold)
			snprintf(told, sizeof told, ",\"outcome\":\"%s\"", outcome);
		snprintf(message, sizeof message, "{\"seq\":%lu,\"ack\":true,\"temp\":%.1f,\"relay\":%s%s}", seq, 20 + seq % 50 / 10.0, relay ? "true" : "false", told);
		while (!up || deliver(message, seq) != 0) {
			if ((up = (ret = shake(argv[1], argv[2])) == 0))
				continue;
			fprintf(stderr, "no session: -0x%04x\n", (unsigned)-ret);
			sleep(1); /* longer and longer where many devices share a gateway */
		}
		usleep((useconds_t)((argc > 5 ? atof(argv[5]) : 10) * 1e6));
	}
}
