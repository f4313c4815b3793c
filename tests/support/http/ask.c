/*
 * ask PORT SECONDS <REQUEST >ANSWER - bytes to a port of this machine, and what comes back
 *
 * For tests of a server on machines that have no client: nothing is added to what is sent,
 * so that it may be anything. Ends when the other side does, or after SECONDS.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_usec = 100000};
    double end = now() + (argc > 2 ? atof(argv[2]) : 0);
    char bytes[65536];
    size_t n;
    ssize_t got;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (argc != 3) {
        fprintf(stderr, "usage: ask PORT SECONDS <REQUEST >ANSWER\n");
        return 2;
    }
    at.sin_port = htons((uint16_t)atoi(argv[1]));
    if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0) {
        perror("ask");
        return 1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while ((n = fread(bytes, 1, sizeof bytes, stdin)) > 0)
        if (send(fd, bytes, n, MSG_NOSIGNAL) < 0)
            break;
    while (now() < end) {
        got = recv(fd, bytes, sizeof bytes, 0);
        if (got > 0)
            fwrite(bytes, 1, (size_t)got, stdout);
        else if (got == 0)
            break;
    }
    close(fd);
    return 0;
}
