// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that a hole takes the VMSAs that are in it, and no others, wherever it
 * begins and ends, and that KVM refuses memslots that would make a hole miss one.
 */
#include <linux/sizes.h>

#include "snp_ap.h"
#include "snp_test.h"

/* Pages of a file that are in a memslot, the first ones of these in its first. */
#define NR_PAGES	12
#define NR_FIRST	8

/* Pages in front of, or behind, all memslots. */
#define NR_FILLERS	200

/* Farther than the end of any file. */
#define FAR_AWAY	BIT_ULL(50)

#define MAX_APS		4

enum { FAR, WHOLE, NR_FILES };

static struct file {
	int fd;
	u64 pgoff, size;
	gpa_t gpa[2];
} files[NR_FILES];

/* Pages are counted from the first one that is in a memslot. */
struct hole {
	const char *what;
	s64 first;
	u64 nr_pages;
	u32 vmsa[MAX_APS];
	u32 nr_vmsas;
};

/*
 * Two files, each with two memslots, one behind the other.
 *
 * FAR has pages around them, and gfns in the order of the pages.  Neither gfns nor
 * offsets fit in 32 bits where the guest has as many, and their difference is negative.
 *
 * WHOLE has no other pages, and gfns in reverse order, without a gap.  Userspace may
 * map it, which is of no use for private memory, but makes other memslots.
 */
static struct snp_vm *setup(u32 nr_aps)
{
	struct snp_vm *s = snp_vm_create(nr_aps);
	const u64 flags = vm_check_cap(s->vm, KVM_CAP_GUEST_MEMFD_FLAGS) & GUEST_MEMFD_FLAG_MMAP;
	struct file *f = &files[FAR];
	u32 i;

	f->pgoff = 2 * (snp_high_gpa(s) + SZ_4G * PAGE_SIZE) / PAGE_SIZE + 5;
	f->size = f->pgoff + NR_PAGES + NR_FILLERS;
	f->gpa[0] = snp_high_gpa(s) + 3 * PAGE_SIZE;
	f->gpa[1] = f->gpa[0] + (NR_FIRST + 5) * PAGE_SIZE;
	f->fd = vm_create_guest_memfd(s->vm, f->size * PAGE_SIZE, 0);

	f = &files[WHOLE];
	f->size = NR_PAGES;
	f->gpa[1] = SZ_4G + 3 * PAGE_SIZE;
	f->gpa[0] = f->gpa[1] + (NR_PAGES - NR_FIRST) * PAGE_SIZE;
	f->fd = vm_create_guest_memfd(s->vm, f->size * PAGE_SIZE, flags);

	for (i = 0; i < NR_FILES; i++) {
		f = &files[i];
		snp_add_slot(s, 10 + 2 * i, f->gpa[0], NR_FIRST, f->fd, f->pgoff);
		snp_add_slot(s, 11 + 2 * i, f->gpa[1], NR_PAGES - NR_FIRST, f->fd,
			     f->pgoff + NR_FIRST);
	}
	snp_vm_launch(s);
	return s;
}

static gpa_t page(struct file *f, u32 i)
{
	return i < NR_FIRST ? f->gpa[0] + i * PAGE_SIZE : f->gpa[1] + (i - NR_FIRST) * PAGE_SIZE;
}

/* Nothing of the file has an SPTE, or this page has one, if it is in a memslot. */
static void set_spte(struct snp_vm *s, struct file *f, u64 i)
{
	if (s->spte == COLD) {
		snp_set_spte(s, f->gpa[0], NR_FIRST);
		snp_set_spte(s, f->gpa[1], NR_PAGES - NR_FIRST);
	} else if (i < NR_PAGES) {
		snp_set_spte(s, page(f, i), 1);
	}
}

/* Punch what is in the file, or behind its end. */
static void punch(struct snp_vm *s, struct file *f, s64 first, u64 nr_pages)
{
	const s64 start = max_t(s64, f->pgoff + first, 0), end = f->pgoff + first + nr_pages;

	if (start < end)
		snp_punch_file(s, f->fd, start, end - start);
}

/* A hole that begins with pages in no memslot takes its time to get to a VMSA. */
static void allocate_fillers(struct file *f)
{
	if (f->pgoff)
		kvm_fallocate(f->fd, FALLOC_FL_KEEP_SIZE, (f->pgoff - NR_FILLERS) * PAGE_SIZE,
			      NR_FILLERS * PAGE_SIZE);
}

/* APs on all VMSAs of a hole run, and stop.  Take the last APs. */
static void punch_under_aps(struct snp_vm *s, struct file *f, const struct hole *hole)
{
	struct snp_ap *first = &s->ap[1 + s->nr_aps - hole->nr_vmsas];
	const u32 nr_proven = s->nr_proven;
	u32 i, nr;

	s->what = hole->what;
	for (nr = 0; s->nr_proven == nr_proven; nr++) {
		TEST_ASSERT(nr < 4, "%s: never entered its window", s->what);
		allocate_fillers(f);
		for (i = 0; i < hole->nr_vmsas; i++)
			ap_start(&first[i], page(f, hole->vmsa[i]));
		for (i = 0; i < hole->nr_vmsas; i++)
			set_spte(s, f, hole->vmsa[i]);
		snp_window_open(s, first, hole->nr_vmsas);
		punch(s, f, hole->first, hole->nr_pages);
		snp_window_close(s);
	}
}

/* As many holes as there are APs for. */
static void punch_all(struct snp_vm *s, const struct hole *holes, u32 nr_holes)
{
	u32 i, j;

	while (snp_window_next(s)) {
		for (i = 0; i < NR_FILES; i++) {
			for (j = 0; j < nr_holes; j++) {
				if (holes[j].nr_vmsas <= s->nr_aps)
					punch_under_aps(s, &files[i], &holes[j]);
			}
		}
	}
}

SNP_TEST_TRACKED

static void check_neighbors(struct snp_ap *ap, struct file *f, u32 vmsa)
{
	const struct {
		struct file *f;
		s64 first;
		u64 nr_pages;
	} holes[] = {
		{ f, vmsa - 1ll, 1 },
		{ f, vmsa + 1, 1 },
		{ f, -NR_FILLERS, NR_FILLERS + vmsa },
		{ f, vmsa + 1, FAR_AWAY },
		{ f == files ? f + 1 : f - 1, 0, NR_PAGES },
	};
	struct snp_vm *s = ap->s;
	u32 i;

	while (snp_window_next(s)) {
		for (i = 0; i < ARRAY_SIZE(holes); i++) {
			set_spte(s, holes[i].f, holes[i].first);
			set_spte(s, holes[i].f, holes[i].first + holes[i].nr_pages - 1);
			snp_window_open(s, ap, 1);
			punch(s, holes[i].f, holes[i].first, holes[i].nr_pages);
			snp_window_note(s);
			ap_check_unharmed(ap);
		}
	}
}

SNP_TEST(punch_neighbors, 1)
{
	static const u32 vmsas[] = { 0, 4, NR_FIRST - 1, NR_FIRST, NR_PAGES - 1 };
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	u32 i, j;

	s->what = "punch beside a VMSA";
	ap_start(ap, page(&files[FAR], 2));
	for (i = 0; i < NR_FILES; i++) {
		for (j = 0; j < ARRAY_SIZE(vmsas); j++) {
			const u64 starts = ap_starts(ap);

			/* All holes so far are over, and in nobody's way. */
			ap_create(ap, page(&files[i], vmsas[j]));
			ap_wait_start(ap, starts);
			check_neighbors(ap, &files[i], vmsas[j]);
			AP_ASSERT(ap, ap_starts(ap) == starts + 1,
				  "lost its VMSA, which nobody touched, and was restarted");
		}
	}
}

/*
 * gfn 0 must not match vCPUs without a VMSA of the guest, i.e. their gpa has to be
 * INVALID_PAGE, and not 0.
 */
SNP_TEST(punch_gfn_zero, 1)
{
	struct snp_vm *s = setup(2);

	TEST_ASSERT(sparsebit_is_set(memslot2region(s->vm, 0)->unused_phy_pages, 0),
		    "The guest uses the page at gfn 0");
	s->what = "punch of gfn 0";
	ap_start(&s->ap[1], page(&files[FAR], 2));
	snp_punch(s, 0, 1);
	snp_order(s, guest_nop, 0, 0, 0);
	ap_check_unharmed(&s->ap[1]);
	ap_start(&s->ap[2], page(&files[FAR], 4));
}

/*
 * An invalidation of any page while KVM looks up that of a VMSA makes KVM try again,
 * later.  It must not forget what it was about.  Replace one VMSA by the next, and
 * punch a page that is neither.
 */
SNP_TEST(create_under_storm, 3)
{
	struct snp_vm *s = setup(1);
	struct snp_ap *ap = &s->ap[1];
	u32 i, j, nr_windows;

	s->what = "AP Create under a storm of punches";
	ap_start(ap, page(&files[FAR], 2));
	for (i = 0; i < NR_FILES; i++) {
		struct snp_storm storm = {
			.fd = files[i].fd,
			.pgoff = files[i].pgoff,
			.nr_pages = 1,
		};

		snp_storm_start(s, &storm);
		for (j = nr_windows = 0; j < 20 || !nr_windows; j++) {
			const u64 starts = ap_starts(ap), nr = READ_ONCE(storm.nr_punches);

			AP_ASSERT(ap, j < 1000, "never entered its window");
			ap_create(ap, page(&files[i], 3 + j % 2));
			ap_wait_start(ap, starts);
			nr_windows += READ_ONCE(storm.nr_punches) != nr;
		}
		ap_check_unharmed(ap);
		snp_storm_stop(&storm);
	}
}

/* No hole ends with an empty page: vCPUs that reload refill it, and it may never end. */
SNP_TEST(punch_many, 3)
{
	static const struct hole holes[] = {
		{ "hole of one VMSA", 4, 1, { 4 }, 1 },
		{ "hole between two VMSAs", 0, NR_FIRST, { 0, NR_FIRST - 1 }, 2 },
		{ "hole over neighbors in reverse order", 1, 2, { 2, 1 }, 2 },
		{ "hole over three VMSAs", 2, 4, { 2, 4, 5 }, 3 },
		{ "hole over four VMSAs", 0, 7, { 6, 0, 3, 1 }, 4 },
	};

	punch_all(setup(min(snp_nr_cpus() - 1, MAX_APS)), holes, ARRAY_SIZE(holes));
}

SNP_TEST(punch_two_slots, 3)
{
	static const struct hole holes[] = {
		{ "hole over two VMSAs at the border of two memslots", NR_FIRST - 1, 2,
		  { NR_FIRST - 1, NR_FIRST }, 2 },
		{ "hole over two memslots", 0, NR_PAGES, { NR_PAGES - 1, 0 }, 2 },
		{ "long hole over two memslots", -NR_FILLERS, NR_FILLERS + NR_FIRST + 2,
		  { NR_FIRST - 1, NR_FIRST + 1 }, 2 },
	};

	punch_all(setup(2), holes, ARRAY_SIZE(holes));
}

/*
 * KVM keeps one range for all invalidations that are in progress.  One that begins
 * beside the punch must not make it forget the other, or the vCPU gets the page back
 * that is about to go.
 */
SNP_TEST(punch_under_storm, 3)
{
	struct snp_vm *s = setup(1);
	struct file *f = &files[FAR];
	struct snp_ap *ap = &s->ap[1];
	/* Of a page that is not there, i.e. no TLB is flushed for it. */
	struct snp_storm storm = {
		.fd = files[WHOLE].fd,
		.nr_pages = 1,
	};
	u64 i, nr, nr_windows;

	s->what = "punch under a storm of others";
	snp_storm_start(s, &storm);
	while (snp_window_next(s)) {
		for (i = nr_windows = 0; i < 4 || !nr_windows; i++) {
			const u32 vmsa = 2 + i % 4;

			/* The host may give the storm's CPU to others for a while. */
			AP_ASSERT(ap, i < 200, "never entered its window");
			ap_start(ap, page(f, vmsa));
			set_spte(s, f, vmsa);
			allocate_fillers(f);
			snp_window_open(s, ap, 1);
			nr = READ_ONCE(storm.nr_punches);
			punch(s, f, -NR_FILLERS, NR_FILLERS + vmsa + 1);
			nr_windows += READ_ONCE(storm.nr_punches) != nr;
			snp_window_close(s);
		}
	}
	snp_storm_stop(&storm);
}

SNP_TEST(punch_edges, 2)
{
	static const struct hole holes[] = {
		{ "hole that begins with a VMSA", 0, 2, { 0 }, 1 },
		{ "hole that ends with a VMSA", 2, 2, { 3 }, 1 },
		{ "hole over a memslot with a VMSA in the middle", 0, NR_FIRST, { 3 }, 1 },
		{ "hole over the end of a memslot", NR_FIRST - 2, 4, { NR_FIRST - 1 }, 1 },
		{ "hole that begins in another memslot", NR_FIRST - 1, 2, { NR_FIRST }, 1 },
		{ "hole that ends with the last memslot", NR_FIRST, 4, { NR_PAGES - 1 }, 1 },
		{ "hole that ends behind the last memslot", NR_PAGES - 1, 2, { NR_PAGES - 1 }, 1 },
		{ "hole over the whole file", -FAR_AWAY, 2 * FAR_AWAY, { 3 }, 1 },
	};

	punch_all(setup(1), holes, ARRAY_SIZE(holes));
}

/*
 * Bindings of gfns and pages are one to one, and do not change while the memslot exists.
 * Otherwise an invalidation would search the wrong gfn for a VMSA.
 */
static void check_bindings_refused(struct snp_vm *s, int foreign_fd)
{
	const u32 id = 20, plain = 21, gmem = KVM_MEM_GUEST_MEMFD;
	const struct file *f = &files[FAR], *whole = &files[WHOLE];
	const u64 begin = f->pgoff * PAGE_SIZE, end = begin + NR_PAGES * PAGE_SIZE;
	const u64 size = f->size * PAGE_SIZE;
	const gpa_t gpa = SZ_4G + SZ_1G, used = f->gpa[0], none = BIT_ULL(52);
	const struct {
		const char *what;
		u32 id, flags;
		gpa_t gpa;
		u64 nr_pages;
		int fd;
		u64 offset;
	} slots[] = {
		{ "first page bound twice", id, gmem, gpa, 2, f->fd, begin - PAGE_SIZE },
		{ "last page bound twice", id, gmem, gpa, 2, f->fd, end - PAGE_SIZE },
		{ "whole file bound twice", id, gmem, gpa, NR_PAGES, whole->fd, 0 },
		{ "unaligned offset", id, gmem, gpa, 1, f->fd, end + PAGE_SIZE / 2 },
		{ "unaligned offset in a bound page", id, gmem, gpa, 1, f->fd, begin + 1 },
		{ "offset behind the file", id, gmem, gpa, 1, f->fd, size },
		{ "end behind the file", id, gmem, gpa, 2, f->fd, size - PAGE_SIZE },
		{ "end at 2^63", id, gmem, gpa, 1, f->fd, BIT_ULL(63) - PAGE_SIZE },
		{ "end behind 2^63", id, gmem, gpa, 2, f->fd, BIT_ULL(63) - PAGE_SIZE },
		{ "offset 2^63", id, gmem, gpa, 1, f->fd, BIT_ULL(63) },
		{ "offset -2 pages", id, gmem, gpa, 1, f->fd, -2 * PAGE_SIZE },
		{ "offset -1 page", id, gmem, gpa, 1, f->fd, -PAGE_SIZE },
		{ "page -1 and page 0", id, gmem, gpa, 2, f->fd, -PAGE_SIZE },
		{ "gpa of another memslot", id, gmem, used, 1, f->fd, end },
		{ "gpa that cannot be", id, gmem, none, 1, f->fd, end },
		{ "end at a gpa that cannot be", id, gmem, none - PAGE_SIZE, 2, f->fd, end },
		{ "file of another VM", id, gmem, gpa, 4, foreign_fd, 0 },
		{ "file of another kind", id, gmem, gpa, 1, s->vm->fd, 0 },
		{ "memslot moved", 10, gmem, gpa, NR_FIRST, f->fd, begin },
		{ "memslot without its file", 10, 0, used, NR_FIRST, -1, 0 },
		{ "memslot with other pages", 10, gmem, used, NR_FIRST, f->fd, 0 },
		{ "dirty log", 10, gmem | KVM_MEM_LOG_DIRTY_PAGES, used, NR_FIRST, f->fd, begin },
		{ "plain memslot with a file", plain, gmem, 2 * gpa, 1, f->fd, end },
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(slots); i++) {
		void *hva = NULL;
		int r;

		if (slots[i].id != id)
			hva = memslot2region(s->vm, slots[i].id)->host_mem;
		snp_wait_step("%s: KVM has to refuse it", slots[i].what);
		r = __vm_set_user_memory_region2(s->vm, slots[i].id, slots[i].flags, slots[i].gpa,
						 slots[i].nr_pages * PAGE_SIZE, hva, slots[i].fd,
						 slots[i].offset);
		TEST_ASSERT(r && (errno == EINVAL || errno == EEXIST),
			    "%s: KVM answered KVM_SET_USER_MEMORY_REGION2 with %d, errno %d",
			    slots[i].what, r, errno);
	}
	errno = 0;
}

SNP_TEST(bindings_refused, 2)
{
	static const u32 vmsas[] = { 0, NR_FIRST - 1, NR_PAGES - 1 };
	struct kvm_vm *other = vm_create_barebones_type(KVM_X86_SNP_VM);
	int foreign_fd = vm_create_guest_memfd(other, 4 * PAGE_SIZE, 0);
	struct snp_vm *s = setup(1);
	struct file *f = &files[FAR];
	struct snp_ap *ap = &s->ap[1];
	u32 i;

	vm_userspace_mem_region_add(s->vm, VM_MEM_SRC_ANONYMOUS, 2 * (SZ_4G + SZ_1G), 21, 1, 0);
	s->what = "punch after memslots were refused";
	while (snp_window_next(s)) {
		for (i = 0; i < ARRAY_SIZE(vmsas); i++) {
			ap_start(ap, page(f, vmsas[i]));
			check_bindings_refused(s, foreign_fd);
			punch(s, f, NR_PAGES, 1);
			set_spte(s, f, vmsas[i]);
			snp_window_open(s, ap, 1);
			punch(s, f, vmsas[i], 1);
			snp_window_close(s);
		}
	}

	/* Nor is anything bound that was refused. */
	s->what = "memslots around others";
	vm_set_user_memory_region2(s->vm, 20, KVM_MEM_GUEST_MEMFD, SZ_4G + SZ_1G, PAGE_SIZE, NULL,
				   f->fd, (f->pgoff - 1) * PAGE_SIZE);
	vm_set_user_memory_region2(s->vm, 22, KVM_MEM_GUEST_MEMFD, SZ_4G + SZ_2G,
				   NR_FILLERS * PAGE_SIZE, NULL, f->fd,
				   (f->pgoff + NR_PAGES) * PAGE_SIZE);
}

SNP_TEST_MAIN
