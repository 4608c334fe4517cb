/* A device with mbedTLS 2.28 or 3: shakes hands over DTLS 1.2 with a key, a
 * certificate or both, sends each message in a record of its own, and prints the
 * suite and the answers to those that ask for one.
 *
 * usage: mbedtls host port local-port identity key suites cert leave message...
 *
 * local-port 0 is any; identity, key (hex) and cert (path of a PEM file with key and
 * certificate) may be -; suites are mbedTLS's names with commas between, in the order
 * of preference; leave is goodbye, for a close_notify at once, or silence.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mbedtls/ctr_drbg.h"
#include "mbedtls/entropy.h"
#include "mbedtls/error.h"
#include "mbedtls/net_sockets.h"
#include "mbedtls/ssl.h"
#include "mbedtls/timing.h"
#include "mbedtls/version.h"

#define MAX_SUITES 32

static void fail(const char *what, int err) {
    char text[128] = "";
    mbedtls_strerror(err, text, sizeof text);
    fprintf(stderr, "%s: -0x%04x %s\n", what, (unsigned)-err, text);
    exit(1);
}

static int unhex(const char *s, unsigned char *out, size_t most) {
    size_t n = strlen(s) / 2;
    if (n > most) return -1;
    for (size_t i = 0; i < n; i++) {
        unsigned b;
        if (sscanf(s + 2 * i, "%2x", &b) != 1) return -1;
        out[i] = (unsigned char)b;
    }
    return (int)n;
}

static int open_socket(const char *host, int port, int local) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons((uint16_t)local)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &to.sin_addr);
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) || connect(fd, (struct sockaddr *)&to, sizeof to)) {
        perror("socket");
        exit(1);
    }
    return fd;
}

static void parse_suites(char *names, int *suites) {
    int n = 0;
    for (char *name = strtok(names, ","); name && n < MAX_SUITES; name = strtok(NULL, ",")) {
        if (!(suites[n++] = mbedtls_ssl_get_ciphersuite_id(name))) {
            fprintf(stderr, "this mbedTLS does not have %s\n", name);
            exit(3);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 9) return 2;
    static int suites[MAX_SUITES + 1];
    parse_suites(argv[6], suites);
    mbedtls_net_context net = {.fd = open_socket(argv[1], atoi(argv[2]), atoi(argv[3]))};

    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    mbedtls_timing_delay_context timer;
    mbedtls_x509_crt cert;
    mbedtls_pk_context key;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_init(&ssl);
    mbedtls_x509_crt_init(&cert);
    mbedtls_pk_init(&key);

    int err = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0);
    if (err) fail("random", err);
    mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_DATAGRAM, MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_ciphersuites(&config, suites);
    mbedtls_ssl_conf_read_timeout(&config, 10000);
    /* What a device must not do, and the gateway must bear: it trusts any server. */
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_NONE);
    if (strcmp(argv[4], "-")) {
        unsigned char psk[64];
        int n = unhex(argv[5], psk, sizeof psk);
        if (n < 0 || (err = mbedtls_ssl_conf_psk(&config, psk, (size_t)n, (unsigned char *)argv[4], strlen(argv[4])))) fail("key", err);
    }
    if (strcmp(argv[7], "-")) {
        if ((err = mbedtls_x509_crt_parse_file(&cert, argv[7]))) fail("certificate", err);
#if MBEDTLS_VERSION_MAJOR < 3
        err = mbedtls_pk_parse_keyfile(&key, argv[7], NULL);
#else
        err = mbedtls_pk_parse_keyfile(&key, argv[7], NULL, mbedtls_ctr_drbg_random, &random);
#endif
        if (err || (err = mbedtls_ssl_conf_own_cert(&config, &cert, &key))) fail("key of the certificate", err);
    }
    if ((err = mbedtls_ssl_setup(&ssl, &config))) fail("setup", err);
    mbedtls_ssl_set_timer_cb(&ssl, &timer, mbedtls_timing_set_delay, mbedtls_timing_get_delay);
    mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, mbedtls_net_recv, mbedtls_net_recv_timeout);
    while ((err = mbedtls_ssl_handshake(&ssl)) != 0) {
        if (err != MBEDTLS_ERR_SSL_WANT_READ && err != MBEDTLS_ERR_SSL_WANT_WRITE) fail("handshake", err);
    }
    printf("suite %s\n", mbedtls_ssl_get_ciphersuite(&ssl));
    for (int i = 9; i < argc; i++) {
        if ((err = mbedtls_ssl_write(&ssl, (unsigned char *)argv[i], strlen(argv[i]))) < 0) fail("send", err);
        if (!strstr(argv[i], "ack")) continue;
        unsigned char answer[512];
        if ((err = mbedtls_ssl_read(&ssl, answer, sizeof answer)) <= 0) fail("no answer", err);
        printf("%.*s\n", err, answer);
    }
    if (!strcmp(argv[8], "goodbye")) mbedtls_ssl_close_notify(&ssl);
    return 0;
}
