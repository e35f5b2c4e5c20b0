// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lab: what the kernel does with the firmware's answers.
 */
#include <linux/psp-sev.h>
#include <linux/sizes.h>
#include <sys/ioctl.h>

#include "test_util.h"
#include "kvm_util.h"
#include "svm_util.h"
#include "sev.h"
#include "snp_vm.h"
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

/* As the firmware has it. */
struct cpuid_page {
	u32 count, reserved1;
	u64 reserved2;
	struct {
		u32 eax_in, ecx_in;
		u64 xcr0_in, xss_in;
		u32 eax, ebx, ecx, edx;
		u64 reserved;
	} function[64];
};

/*
 * A CPUID page with a feature that no such processor has.  The firmware says what it would
 * take, and KVM passes that on to userspace, unless userspace may not write to the page.
 */
SNP_TEST(cpuid_page, 1)
{
	const gpa_t gpa = SZ_4G;
	const u32 tsc_deadline = BIT(24);
	struct cpuid_page *page, *read_only;
	struct kvm_sev_snp_launch_update update;
	int fd = memfd_create("cpuid", 0), r;
	struct snp_vm *s;
	u32 eax, ebx, ecx, edx;

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, PAGE_SIZE), "No memfd, errno %d", errno);
	page = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	read_only = kvm_mmap(PAGE_SIZE, PROT_READ, MAP_SHARED, fd);
	cpuid(1, &eax, &ebx, &ecx, &edx);
	page->count = 1;
	page->function[0].eax_in = 1;
	page->function[0].ecx = ecx | tsc_deadline;

	s = snp_vm_create(0);
	snp_add_slot(s, 1, gpa, 1, vm_create_guest_memfd(s->vm, PAGE_SIZE, 0), 0);
	snp_vm_prepare(s);
	snp_vm_launch_start(s->vm, snp_default_policy() | SNP_POLICY_SMT);

	vm_mem_set_private(s->vm, gpa, PAGE_SIZE);

	update = (struct kvm_sev_snp_launch_update) {
		.gfn_start = gpa / PAGE_SIZE, .uaddr = (u64)page, .len = PAGE_SIZE,
		.type = KVM_SEV_SNP_PAGE_TYPE_CPUID,
	};
	r = __vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_UPDATE, &update);
	TEST_ASSERT(r < 0 && errno == EIO && page->function[0].ecx == (ecx & ~tsc_deadline),
		    "a CPUID page that is wrong: KVM answered %d, errno %d; ECX of function 1 is 0x%x, not 0x%x",
		    r, errno, page->function[0].ecx, ecx & ~tsc_deadline);

	page->function[0].ecx |= tsc_deadline;
	update.uaddr = (u64)read_only;
	r = __vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_UPDATE, &update);
	TEST_ASSERT(r < 0 && page->function[0].ecx == (ecx | tsc_deadline),
		    "KVM answered %d, errno %d, and wrote to a page that userspace may only read",
		    r, errno);

	page->function[0].ecx = ecx;
	update.uaddr = (u64)page;
	r = __vm_sev_ioctl(s->vm, KVM_SEV_SNP_LAUNCH_UPDATE, &update);
	TEST_ASSERT(!r, "the corrected CPUID page: KVM answered %d, errno %d", r, errno);
}

SNP_TEST_MAIN
