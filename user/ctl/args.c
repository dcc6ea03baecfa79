/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: the table of verbs, the options that all share, and the help. Exit codes are 0 done, 1
 * refused or failed, 2 called wrongly; nothing is done before the whole call has been understood.
 */
#include "ctl/ctl_priv.h"

#include <stdarg.h>
#include <string.h>

#define SL_DEFAULT_SOCKET "/run/sluice/admin.sock"

static const struct sl_ctl_verb _sl_verbs[] = {
    {"check", "PATH", "check a policy file or directory; needs no daemon",
     "Prints every error and warning with file:line:column; exit 1 where there is an error.\n"
     "Reads the files and environment variables that the policy names.\n",
     sl_ctl_check},
    {"diff", "[PATH]", "what `apply` would change",
     "Compares a policy file or directory (else the one that the daemon reads) with what is in force:\n"
     "+ is new, - goes, ~ changes, by JSON pointer; of secrets, and of files that the policy names, only\n"
     "that their bytes differ. Checks nothing: that is `check`. Exit 0 where they are the same, 2 where\n"
     "they differ, 1 where that cannot be told.\n",
     sl_ctl_diff},
    {"apply", "[--confirm 30s]", "have the daemon read its policy again",
     "A bad policy changes nothing: its errors are printed, the old one goes on, exit 1.\n"
     "With --confirm the policy is on trial: the one before comes back after that time (1s to 24h)\n"
     "unless `confirm` came; until then no other is applied. The daemon owns the clock: it goes on\n"
     "whatever becomes of this terminal. A daemon that is stopped meanwhile reads the policy on\n"
     "disk when it starts again, as it always does.\n",
     sl_ctl_apply},
    {"confirm", "", "keep the policy that `apply --confirm` put on trial", "", sl_ctl_confirm},
    {"rollback", "", "take back the last policy that was applied",
     "One step, to what was in force before, with the files as they were then; also ends a trial.\n"
     "The policy on disk stays as it is: mend it, or the next `apply` or restart brings it back.\n",
     sl_ctl_rollback},
    {"upgrade", "", "put the sluiced that is installed now in the place of the one that runs",
     "The new program reads the policy as at a start, takes the listening sockets, the locks, limits and\n"
     "counters over, and serves; then the old one answers what it has, saying that it closes, for at most\n"
     "`drain_timeout`. Where the new one cannot serve, the old one goes on, exit 1. `workers` may change.\n",
     sl_ctl_upgrade},
    {"status", "[upstreams]", "processes, policy version, interfaces",
     "`status upstreams`: each target of each upstream, whether it is healthy, ejected or drained, what\n"
     "is on its way there, and how the upstream's breaker stands.\n",
     sl_ctl_status},
    {"top", "[drops | sources] [--once]", "kernel and proxy verdicts side by side, live",
     "[drops | sources [--prefix]] [--once] [--interval 1s]: per listener, route and tier, with rates;\n"
     "`top drops`: why the kernel drops, and the latest samples; `top sources`: the addresses (IPv6:\n"
     "/64) that send most of what is dropped, or of all with kernel.top_sources: all; --prefix: by\n"
     "/24 and /48. q quits. Without a terminal, or with --once, it prints the rates over one\n"
     "interval; with --json one object a line, until stopped.\n",
     sl_ctl_top},
    {"capture", "[--reason R]... [--write FILE]", "dropped packets as they come, sampled",
     "[--reason R]... [--count N] [--for 10s] [--write FILE | -]: one line each, with --json one\n"
     "object each, with --write a pcapng that tshark and tcpdump read (- is standard output), with\n"
     "the reason as each packet's comment. At most kernel.samples_per_second are taken; packets\n"
     "that shadow mode lets pass are marked \"would drop\". Goes on until stopped.\n",
     sl_ctl_capture},
    {"deny", "CIDR [--for 10m]", "drop a source in the kernel",
     "Beside the policy's lists; survives reloads. Without --for it holds until `forget`.\n", sl_ctl_deny},
    {"allow", "CIDR [--for 10m]", "let a source pass without kernel limits",
     "Beside the policy's lists; survives reloads. Without --for it holds until `forget`.\n", sl_ctl_deny},
    {"drain", "TARGET [--off]", "send no more requests to a target of an upstream",
     "TARGET as the policy writes it, 10.0.1.10:8080, or orders/10.0.1.10:8080 for one upstream's only.\n"
     "What is under way ends in peace: `status upstreams` shows how much that still is. Holds over\n"
     "reloads until `drain TARGET --off` or a restart of the daemon.\n",
     sl_ctl_drain},
    {"forget", "CIDR", "take back a deny, an allow and all penalties in the range", "", sl_ctl_forget},
    {"penalties", "", "who is being dropped, why, and for how much longer", "", sl_ctl_penalties},
    {"explain", "SOURCE|CONSUMER|REQUEST", "what would happen, and why, with the policy's file and line",
     "[--policy PATH] WHAT: an address, the name of a consumer, or a request as \"GET https://host/path\"\n"
     "[-H \"Name: value\"]... [--from ADDRESS]. Reads the policy of the daemon, or PATH, for which none is\n"
     "needed; where a daemon answers, its penalties and what is left of limits are told as well. Nothing\n"
     "is debited, and no upstream hears of it. A header on the command line is seen by every user of the\n"
     "host: try with a credential that may be seen.\n",
     sl_ctl_explain},
    {"consumers", "usage|reset [NAME]", "what consumers have left of their limits; giving it back",
     "`usage`: of each consumer (with NAME of one, with the limits of routes) what is left in each window,\n"
     "until when it is full again, and what was admitted and refused. `reset` makes them full at once; of\n"
     "limits that are shared in a cluster, here and in Redis: other hosts keep what they know.\n",
     sl_ctl_consumers},
    {"suggest", "[--headroom 1.5]", "limits as the traffic would have them, as a patch of the policy",
     "[--headroom 1.5] [--windows N] [--format yaml|json]: a merge patch (RFC 7396), in YAML with the\n"
     "evidence beside each line: peak and p99 of one asker in a window, and how often the limit of now\n"
     "refused. Limits that bind often go up, limits far above the peak go down, routes and consumers\n"
     "without one get one; what too little was seen of is said. Windows of which 60 seconds, 30 minutes,\n"
     "24 hours or 7 days were watched tell enough, or N of each. Nothing is applied by this.\n",
     sl_ctl_suggest},
    {"metrics", "", "the Prometheus text of /metrics", "", sl_ctl_metrics},
    {"jwt", "verify --jwks FILE --token -", "check a token's signature; needs no daemon",
     "[--algorithms RS256,ES256,…]: by the code that the gateway verifies with. --token - reads the token\n"
     "from standard input, --token FILE from a file; claims (exp, aud, …) are printed, not judged. Exit 0\n"
     "verified, 1 refused, with the reason, 2 called wrongly or a file that cannot be read.\n",
     sl_ctl_jwt},
    {"detach", "", "take the guard off all interfaces",
     "Asks the daemon; where none runs, removes the programs and pins itself (as root).\n", sl_ctl_detach},
    {"schema", "", "the JSON Schema of the policy language", "", sl_ctl_schema},
    {"version", "", "the version of this program", "", sl_ctl_version},
    {"help", "[VERB]", "this list, or more about one verb", "", sl_ctl_help},
};

const struct sl_ctl_verb *sl_ctl_verb_find(const char *name)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_verbs); i++)
        if (strcmp(_sl_verbs[i].name, name) == 0)
            return &_sl_verbs[i];
    return NULL;
}

static void _sl_help_all(FILE *f)
{
    (void)fprintf(f, "usage: sluicectl [--socket PATH] [--json] VERB\n\n");
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_verbs); i++) {
        const struct sl_ctl_verb *v = &_sl_verbs[i];
        char call[64];
        (void)snprintf(call, sizeof(call), "%s%s%s", v->name, *v->args ? " " : "", v->args);
        (void)fprintf(f, "  %-30s %s\n", call, v->brief);
    }
    (void)fprintf(f,
                  "\n  --socket PATH   the daemon's admin socket (else $SLUICE_SOCKET, else %s,\n"
                  "                  or $XDG_RUNTIME_DIR/sluice/admin.sock where sluiced runs as a user)\n"
                  "  --json          answer in JSON\n"
                  "\nexit: 0 done, 1 refused or failed, 2 called wrongly (diff: or they differ)\n",
                  SL_DEFAULT_SOCKET);
}

static void _sl_help_verb(FILE *f, const struct sl_ctl_verb *v)
{
    (void)fprintf(f, "usage: sluicectl [--socket PATH] [--json] %s%s%s\n", v->name, *v->args ? " " : "",
                  v->args);
}

int sl_ctl_usage(const char *verb, const char *fmt, ...)
{
    struct sl_buf text = {0};
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (sl_ctl_escape(&text, sl_slice_str(line), false) == 0)
        (void)fprintf(stderr, "sluicectl: " SL_SFMT "\n", SL_SARG(sl_buf_slice(&text)));
    sl_buf_free(&text);
    const struct sl_ctl_verb *v = verb ? sl_ctl_verb_find(verb) : NULL;
    if (v)
        _sl_help_verb(stderr, v);
    else
        (void)fprintf(stderr,
                      "usage: sluicectl [--socket PATH] [--json] VERB; `sluicectl help` lists the verbs\n");
    return SL_CTL_USAGE;
}

/* Edit distance of at most 2, as a hint; names are short. */
static unsigned _sl_distance(const char *a, const char *b)
{
    unsigned row[24];
    size_t n = strlen(b);
    if (n >= SL_ARRAY_LEN(row) || strlen(a) > 64)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned up = row[j], change = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = SL_MIN(change, SL_MIN(up, row[j - 1]) + 1);
            diagonal = up;
        }
    }
    return row[n];
}

static int _sl_unknown_verb(const char *name)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_verbs); i++)
        if (_sl_distance(name, _sl_verbs[i].name) <= 2)
            return sl_ctl_usage(NULL, "no verb \"%s\": did you mean \"%s\"?", name, _sl_verbs[i].name);
    return sl_ctl_usage(NULL, "no verb \"%s\"", name);
}

/* The value of --name VALUE or --name=VALUE at argv[*i]; NULL where argv[*i] is another option. *i moves past
 * it. A missing value gives "". argv ends with NULL. */
static const char *_sl_option_value(const char *name, char **argv, int *i)
{
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) != 0)
        return NULL;
    if (argv[*i][n] == '=')
        return argv[*i] + n + 1;
    if (argv[*i][n] != '\0')
        return NULL;
    return argv[*i + 1] ? argv[++*i] : "";
}

/* Where sluiced puts it when the policy names none: what runs as a user has its own place. */
static const char *_sl_default_socket(struct sl_ctl *ctl)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0 || access(SL_DEFAULT_SOCKET, F_OK) == 0)
        return SL_DEFAULT_SOCKET;
    int n = snprintf(ctl->socket_default, sizeof(ctl->socket_default), "%s/sluice/admin.sock",
                     run ? run : "/tmp");
    return n > 0 && (size_t)n < sizeof(ctl->socket_default) ? ctl->socket_default : SL_DEFAULT_SOCKET;
}

int sl_ctl_args_parse(struct sl_ctl *ctl, int argc, char **argv)
{
    const char *env = getenv("SLUICE_SOCKET"), *value;
    ctl->socket = env && *env ? env : _sl_default_socket(ctl);
    ctl->socket_from = env && *env ? "$SLUICE_SOCKET" : "the default";
    ctl->argv = argv;
    ctl->argc = 0;
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if ((value = _sl_option_value("--socket", argv, &i))) {
            if (!*value)
                return sl_ctl_usage(NULL, "--socket wants a path, as in --socket %s", SL_DEFAULT_SOCKET);
            ctl->socket = strncmp(value, "unix:", 5) == 0 ? value + 5 : value; /* as the policy writes it */
            ctl->socket_from = "--socket";
        } else if (strcmp(argv[i], "--json") == 0) {
            ctl->json = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            ctl->help = true;
        } else {
            argv[ctl->argc++] = argv[i];
        }
    }
    for (; i < argc; i++)
        argv[ctl->argc++] = argv[i];
    return 0;
}

int sl_ctl_options(const char *verb, int argc, char **argv, const struct sl_ctl_option *options,
                   size_t n_options, const char **operands, size_t max, size_t *n)
{
    bool only_operands = false;
    *n = 0;
    for (int i = 1; i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0) {
            only_operands = true;
            continue;
        }
        if (only_operands || argv[i][0] != '-') {
            if (*n == max)
                return sl_ctl_usage(verb, "%s: \"%s\" is one argument too many", verb, argv[i]);
            operands[(*n)++] = argv[i];
            continue;
        }
        size_t o = 0;
        for (; o < n_options; o++) {
            const struct sl_ctl_option *opt = &options[o];
            const char *value = NULL;
            if (opt->value ? !(value = _sl_option_value(opt->name, argv, &i))
                           : strcmp(argv[i], opt->name) != 0)
                continue;
            if (opt->value && !*value)
                return sl_ctl_usage(verb, "%s: %s wants a value", verb, opt->name);
            if (opt->value)
                *opt->value = value;
            if (opt->given)
                *opt->given = true;
            break;
        }
        if (o == n_options)
            return sl_ctl_usage(verb, "%s: no option \"%s\"", verb, argv[i]);
    }
    return 0;
}

int sl_ctl_version(const struct sl_ctl *ctl, int argc, char **argv)
{
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, NULL, 0, &n))
        return SL_CTL_USAGE;
    printf(ctl->json ? "{\"version\": \"%s\"}\n" : "sluicectl %s\n", SL_VERSION);
    return SL_CTL_OK;
}

int sl_ctl_help(const struct sl_ctl *ctl, int argc, char **argv)
{
    (void)ctl;
    const char *name[1];
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, name, 1, &n))
        return SL_CTL_USAGE;
    if (n == 0) {
        _sl_help_all(stdout);
        return SL_CTL_OK;
    }
    const struct sl_ctl_verb *v = sl_ctl_verb_find(name[0]);
    if (!v)
        return _sl_unknown_verb(name[0]);
    _sl_help_verb(stdout, v);
    printf("\n%s\n%s", v->brief, v->text);
    return SL_CTL_OK;
}

int sl_ctl_run(int argc, char **argv)
{
    struct sl_ctl ctl = {0};
    int r = sl_ctl_args_parse(&ctl, argc, argv);
    if (r)
        return r;
    if (ctl.argc == 0) {
        _sl_help_all(ctl.help ? stdout : stderr);
        return ctl.help ? SL_CTL_OK : SL_CTL_USAGE;
    }
    if (strcmp(ctl.argv[0], "--version") == 0) /* what every program answers to */
        ctl.argv[0] += 2;
    const struct sl_ctl_verb *v = sl_ctl_verb_find(ctl.argv[0]);
    if (!v)
        return _sl_unknown_verb(ctl.argv[0]);
    if (ctl.help) {
        char *again[] = {(char *)"help", ctl.argv[0], NULL};
        return sl_ctl_help(&ctl, 2, again);
    }
    return v->run(&ctl, ctl.argc, ctl.argv);
}
