/* SPDX-License-Identifier: Apache-2.0 */
/* sluiced: reads its arguments and becomes the supervisor. */
#include "base/log.h"
#include "base/slice.h"
#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>

static const char _sl_usage[] =
    "usage: sluiced --policy PATH [--state DIR] [--log-level LEVEL]\n"
    "  --policy PATH      policy file, or a directory of *.yaml, *.yml and *.json\n"
    "  --state DIR        lock, default admin socket, and what outlives a restart\n"
    "                     (default: /run/sluice, and /var/lib/sluice for the last;\n"
    "                     $XDG_RUNTIME_DIR/sluice when not root)\n"
    "  --log-level LEVEL  error | warning | info | debug (default: info)\n"
    "  --version, --help\n";

static int _sl_level(const char *s, enum sl_log_level *out)
{
    static const struct {
        const char *name;
        enum sl_log_level level;
    } levels[] = {
        {"error", SL_LOG_ERROR}, {"warning", SL_LOG_WARNING}, {"info", SL_LOG_INFO}, {"debug", SL_LOG_DEBUG}};
    for (size_t i = 0; i < SL_ARRAY_LEN(levels); i++)
        if (strcmp(levels[i].name, s) == 0) {
            *out = levels[i].level;
            return 0;
        }
    return -1;
}

/* 0: go on; else the exit code + 1. */
static int _sl_arguments(int argc, char **argv, struct sl_supervisor_options *o)
{
    static const struct option options[] = {{"policy", required_argument, NULL, 'p'},
                                            {"state", required_argument, NULL, 's'},
                                            {"log-level", required_argument, NULL, 'l'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'p')
            o->policy = optarg;
        else if (c == 's')
            o->state = optarg;
        else if (c == 'l' && _sl_level(optarg, &o->log_level) < 0)
            return fprintf(stderr, "sluiced: --log-level is error, warning, info or debug, not \"%s\"\n",
                           optarg),
                   3;
        else if (c == 'v')
            return printf("sluiced %s\n", SL_VERSION), 1;
        else if (c == 'h')
            return printf("%s", _sl_usage), 1;
        else if (c == '?')
            return fprintf(stderr, "%s", _sl_usage), 3;
    }
    if (optind < argc || !o->policy) {
        (void)fprintf(stderr, "sluiced: %s\n%s",
                      o->policy ? "an argument too many" : "--policy PATH is missing", _sl_usage);
        return 3;
    }
    return 0;
}

/* Started with one of 0 to 2 closed, a listening socket would get that number, and the log would be written
 * to it. */
static int _sl_standard_files(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -1;
    return close(fd);
}

int main(int argc, char **argv)
{
    struct sl_supervisor_options o = {.argv = argv, .log_level = SL_LOG_INFO};
    if (_sl_standard_files() < 0)
        return 1;
    int r = _sl_arguments(argc, argv, &o);
    if (r)
        return r - 1;
    sl_log_setup("supervisor", o.log_level);
    return sl_supervisor_run(&o);
}
