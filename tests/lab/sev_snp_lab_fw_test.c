// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lab: /dev/sev, the driver's own side of a command of the firmware.
 */
#include <linux/psp-sev.h>
#include <sys/ioctl.h>

#include "test_util.h"
#include "kvm_util.h"
#include "svm_util.h"
#include "snp_test.h"

#define FILLER		0xa5

static u8 id[PAGE_SIZE];

static int get_id(u32 length, struct sev_issue_cmd *cmd, u32 *wanted)
{
	struct sev_user_data_get_id2 data = {
		.address = (unsigned long)id,
		.length = length,
	};
	int fd = open_sev_dev_path_or_exit();
	int r;

	*cmd = (struct sev_issue_cmd) { .cmd = SEV_GET_ID2, .data = (unsigned long)&data };
	memset(id, FILLER, sizeof(id));
	r = ioctl(fd, SEV_ISSUE_CMD, cmd);
	close(fd);
	*wanted = data.length;
	return r;
}

static u32 nr_written(void)
{
	u32 i = sizeof(id);

	while (i && id[i - 1] == FILLER)
		i--;
	return i;
}

/* A buffer that is too small stays as it is, and nothing is written behind it. */
SNP_TEST(id_too_long, 1)
{
	struct sev_issue_cmd cmd;
	u32 size, length;
	int r;

	r = get_id(1, &cmd, &size);
	TEST_ASSERT(r == -1 && cmd.error == SEV_RET_INVALID_LEN && size > 1,
		    "SEV_GET_ID2 with one byte gives %d, error %u, length %u", r, cmd.error, size);
	TEST_ASSERT(!nr_written(), "SEV_GET_ID2 failed, and wrote %u bytes to a buffer of one",
		    nr_written());

	r = get_id(size, &cmd, &length);
	TEST_ASSERT(!r && length == size && nr_written() <= size,
		    "SEV_GET_ID2 with %u bytes gives %d, error %u, length %u", size, r, cmd.error,
		    length);
}

SNP_TEST_MAIN
