/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "ctl/ctl_priv.h"

int main(int argc, char **argv)
{
    sl_log_setup("sluicectl", SL_LOG_INFO);
    return sl_ctl_run(argc, argv);
}
