/*
 * A device in C with POSIX sockets: a reading every few seconds as JSON over UDP,
 * sent again until the gateway has acknowledged it, and commands from its answers.
 *
 *   cc -Wall -Wextra -o telemetry telemetry.c -lm
 *   ./telemetry 192.168.1.20 7700 greenhouse-1 [SECONDS [TOKEN]]
 *
 * What is sent:     {"device":"greenhouse-1","seq":7,"ack":true,"temp":21.5,"relay":false}
 * What is answered: {"ack":7,"command":{"id":3,"device":"greenhouse-1","name":"relay","value":true}}
 * What is sent next has the outcome:  "outcome":"3 on"
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int relay;             /* what the command "relay" switches */
static char outcome[64];      /* of the command that came last, as it is told */
static int untold;            /* the gateway has not acknowledged the outcome */
static unsigned long last_id; /* of that command: it is told again until its outcome has come */

/* measure stands for your sensor. */
static double measure(void) { return 21.5 + sin(time(NULL) / 60.0); }

/* obey carries out the command in an answer, if there is one. It does so once, and tells
 * the outcome of the last one as often as it is asked to. */
static void obey(const char *answer)
{
	unsigned long id;
	char name[65] = "";
	const char *c = strstr(answer, "\"command\":");

	if (!c || sscanf(c, "\"command\":{\"id\":%lu,\"device\":\"%*[^\"]\",\"name\":\"%64[^\"]\"", &id, name) != 2)
		return;
	untold = 1;
	if (id == last_id)
		return;
	last_id = id;
	if (strcmp(name, "relay") == 0) {
		relay = strstr(c, "\"value\":true") != NULL;
		snprintf(outcome, sizeof outcome, "%lu %s", id, relay ? "on" : "off");
	} else {
		snprintf(outcome, sizeof outcome, "%lu error: unknown command", id);
	}
}

/* about reports whether an answer is to the message with this number. */
static int about(const char *answer, unsigned long seq)
{
	unsigned long got;
	const char *s = strstr(answer, "\"seq\":");

	return (sscanf(answer, "{\"ack\":%lu", &got) == 1 && got == seq) ||
	       (s && sscanf(s, "\"seq\":%lu", &got) == 1 && got == seq);
}

/* deliver sends a message until it is answered, with longer and longer waits. It
 * reports whether the gateway has it on its disk. */
static int deliver(int s, const char *message, unsigned long seq)
{
	char answer[1024];

	for (int wait = 1000; wait <= 32000; wait *= 2) {
		struct pollfd p = {s, POLLIN, 0};

		send(s, message, strlen(message), 0); /* one that cannot leave is like one that is lost */
		while (poll(&p, 1, wait) > 0) {
			ssize_t n = recv(s, answer, sizeof answer - 1, 0);
			if (n < 0) { /* nobody listens at the moment */
				poll(NULL, 0, wait);
				break;
			}
			answer[n] = 0;
			if (!about(answer, seq))
				continue; /* to an earlier transmission */
			if (strncmp(answer, "{\"error\"", 8) == 0)
				fprintf(stderr, "refused: %s\n", answer);
			else
				untold = 0;
			obey(answer);
			return answer[2] == 'a';
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *to;
	double seconds = argc > 4 ? atof(argv[4]) : 10;
	struct timespec pause = {(time_t)seconds, (long)(fmod(seconds, 1) * 1e9)};

	if (argc < 4 || getaddrinfo(argv[1], argv[2], &hints, &to) != 0) {
		fprintf(stderr, "usage: %s HOST PORT DEVICE [SECONDS [TOKEN]]\n", argv[0]);
		return 2;
	}
	int s = socket(to->ai_family, to->ai_socktype, 0);
	if (s < 0 || connect(s, to->ai_addr, to->ai_addrlen) != 0) {
		perror(argv[1]);
		return 1;
	}
	for (unsigned long seq = 1;; seq++) { /* after a restart it begins at 1 again */
		char message[512];
		int n = snprintf(message, sizeof message, "{\"device\":\"%s\",\"seq\":%lu,\"ack\":true,\"temp\":%.2f,\"relay\":%s",
				 argv[3], seq, measure(), relay ? "true" : "false");
		if (untold)
			n += snprintf(message + n, sizeof message - n, ",\"outcome\":\"%s\"", outcome);
		if (argc > 5)
			n += snprintf(message + n, sizeof message - n, ",\"token\":\"%s\"", argv[5]);
		snprintf(message + n, sizeof message - n, "}");
		if (!deliver(s, message, seq))
			fprintf(stderr, "message %lu is not stored\n", seq);
		nanosleep(&pause, NULL);
	}
}
