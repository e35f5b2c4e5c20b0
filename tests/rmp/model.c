/*
 * The naive RMP: see model.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>

#include "model.h"

#define MB2 (2ull * 1024 * 1024)

static bool covered(uint64_t spa)
{
    return spa / 4096 < MODEL_PAGES;
}

static unsigned number(uint64_t spa)
{
    return spa / 4096;
}

static unsigned region(unsigned page)
{
    return page - page % 512;
}

/* The page whose entry counts for this one */
static unsigned governor(const Model *m, unsigned page)
{
    return m->page[region(page)].large ? region(page) : page;
}

static void touch(Model *m, unsigned first, unsigned n)
{
    if (m->touched == m->touched_end) {
        m->touched = first;
        m->touched_end = first + n;
        return;
    }
    if (first < m->touched) {
        m->touched = first;
    }
    if (first + n > m->touched_end) {
        m->touched_end = first + n;
    }
}

static bool any_in_use(const Model *m, unsigned page)
{
    unsigned i;

    for (i = 0; i < 512; i++) {
        if (m->page[region(page) + i].in_use) {
            return true;
        }
    }
    return false;
}

/* Is the page, or all of the 2 MB entry it is in, locked by a running vCPU? */
static bool locked(const Model *m, unsigned page)
{
    return m->page[page].in_use || m->page[governor(m, page)].in_use;
}

void model_reset(Model *m, uint64_t base, uint64_t end, bool erratum)
{
    memset(m, 0, sizeof(*m));
    m->base = base;
    m->end = end;
    m->erratum = erratum;
    touch(m, 0, MODEL_PAGES);
}

RmpEntry model_raw(const Model *m, unsigned page)
{
    const ModelPage *p = &m->page[page];
    RmpEntry e = { 0, 0 };
    unsigned i, others = 0;

    if (page == region(page) && !p->large) {
        for (i = 1; i < 512; i++) {
            others += m->page[page + i].assigned;
        }
    }
    e.lo += p->assigned * 0x1ull;
    e.lo += p->large * 0x2ull;
    e.lo += p->immutable * 0x4ull;
    e.lo += others * 0x8ull;
    e.lo += p->gpa;
    if (p->in_use) {
        e.lo += 0xfff0000000000000;
        e.lo += p->asid % 2 * 0x0008000000000000;
    } else {
        e.lo += p->asid * 0x0008000000000000;
        e.lo += p->vmsa * 0x2000000000000000;
        e.lo += p->validated * 0x4000000000000000;
        e.lo += p->table * 0x8000000000000000;
    }
    memcpy(&e.hi, p->perms, 4);
    return e;
}

int model_update(Model *m, uint64_t spa, const RmpState *st)
{
    bool large = st->page_size == 1 || st->page_size % 2;
    unsigned i, page = number(spa);
    ModelPage new = { 0 };

    if (large && spa / 4096 % 512 != 0) {
        return RMP_FAIL_INPUT;
    }
    if (st->assigned == 0 && (st->immutable != 0 || st->asid != 0)) {
        return RMP_FAIL_INPUT;
    }
    if (st->assigned > 1 || st->immutable > 1 || st->page_size > 1 ||
        st->reserved != 0 || st->asid > MODEL_MAX_ASID ||
        st->gpa % (large ? MB2 : 4096) != 0) {
        return RMP_FAIL_INPUT;
    }
    if (!covered(spa)) {
        return RMP_FAIL_INPUT;
    }

    if (large ? any_in_use(m, page) : locked(m, page)) {
        return RMP_FAIL_INUSE;
    }
    if (m->page[page].immutable) {
        return RMP_FAIL_PERMISSION;
    }
    if (large) {
        for (i = 0; i < 512; i++) {
            if (m->page[page + i].immutable && !m->page[page + i].assigned) {
                return RMP_FAIL_PERMISSION;
            }
        }
    }
    if (!large && m->page[region(page)].large) {
        return RMP_FAIL_OVERLAP;
    }
    if (large && !m->page[page].large) {
        for (i = 0; i < 512; i++) {
            if (m->page[page + i].assigned) {
                return RMP_FAIL_OVERLAP;
            }
        }
    }

    if (st->assigned) {
        new.assigned = true;
        new.immutable = st->immutable;
        new.asid = st->asid;
        new.gpa = st->gpa % (1ull << 51);
        new.large = large;
        new.perms[0] = 1 + 2 + 4 + 8;
    }
    m->page[page] = new;
    if (large) {
        for (i = 1; i < 512; i++) {
            m->page[page + i] = (ModelPage) { .assigned = st->assigned };
        }
        touch(m, page, 512);
    } else {
        touch(m, page, 1);
    }
    return RMP_OK;
}

int model_smash(Model *m, uint64_t spa)
{
    unsigned i, page = number(spa);
    ModelPage *base;

    if (!covered(spa) || page % 512 != 0) {
        return RMP_FAIL_INPUT;
    }
    if (any_in_use(m, page)) {
        return RMP_FAIL_INUSE;
    }
    base = &m->page[page];
    if (!base->assigned || !base->large) {
        return RMP_FAIL_BADADDR;
    }
    if (base->immutable) {
        return RMP_FAIL_PERMISSION;
    }
    base->large = false;
    for (i = 1; i < 512; i++) {
        base[i] = base[0];
        base[i].gpa = base[0].gpa + i * 4096ull;
    }
    touch(m, page, 512);
    return RMP_OK;
}

int model_read(const Model *m, uint64_t spa, RmpState *st)
{
    const ModelPage *p;
    unsigned i;

    if (!covered(spa)) {
        return RMP_FAIL_INPUT;
    }
    p = &m->page[number(spa)];
    memset(st, 0, sizeof(*st));
    st->gpa = p->gpa;
    st->assigned = p->assigned;
    st->page_size = p->large;
    st->immutable = p->immutable;
    st->asid = p->asid;
    if (number(spa) % 512 == 0) {
        for (i = 1; i < 512; i++) {
            if (p[i].assigned) {
                st->page_size = p->large + 2;
            }
        }
    }
    return RMP_OK;
}

/* Covered, not in use, Guest-Owned, Reverse-Map, Mutable */
static bool private_page(const Model *m, uint64_t spa, uint64_t gpa,
                         unsigned asid)
{
    const ModelPage *p;
    uint64_t expected;

    if (!covered(spa) || locked(m, number(spa))) {
        return false;
    }
    p = &m->page[governor(m, number(spa))];
    expected = p->gpa;
    if (p->large) {
        expected += number(spa) % 512 * 4096;
    }
    return p->assigned && p->asid == asid && expected == gpa / 4096 * 4096 &&
           !p->immutable;
}

static bool is_large(const Model *m, uint64_t spa)
{
    return m->page[governor(m, number(spa))].large;
}

int model_pvalidate_operands(uint64_t gva, bool size_2m)
{
    return size_2m && gva / 4096 % 512 ? RMP_FAIL_INPUT : RMP_OK;
}

int model_adjust_operands(uint64_t gva, bool size_2m, uint64_t rdx,
                          unsigned vmpl)
{
    unsigned target = rdx % 256, mask = rdx / 256 % 256;
    bool r = mask & 1, w = mask & 2, xu = mask & 4, xs = mask & 8;
    bool sss = mask & 16;

    if (size_2m && gva / 4096 % 512) {
        return RMP_FAIL_INPUT;
    }
    if (target > 3) {
        return RMP_FAIL_INPUT;
    }
    if (target <= vmpl) {
        return RMP_FAIL_PERMISSION;
    }
    if (mask >= 32) {
        return RMP_FAIL_INPUT;
    }
    if (!r && (w || xu || xs || sss)) {
        return RMP_FAIL_INPUT;
    }
    if ((sss && (xu || xs)) || (xs && !xu)) {
        return RMP_FAIL_INPUT;
    }
    return RMP_OK;
}

int model_query_operands(uint64_t target, unsigned vmpl)
{
    return target <= 3 && target >= vmpl ? RMP_OK : RMP_FAIL_PERMISSION;
}

int model_pvalidate(Model *m, uint64_t spa, uint64_t gpa, uint64_t leaf,
                    unsigned asid, bool size_2m, bool validate,
                    RmpVerdict *verdict, bool *unchanged)
{
    ModelPage *p;

    *verdict = RMP_GUEST_OK;
    *unchanged = false;
    if (!private_page(m, spa, gpa, asid)) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    if (!size_2m) {
        if (leaf >= MB2 || is_large(m, spa)) {
            *verdict = RMP_GUEST_NPF_SIZEM;
            return RMP_OK;
        }
    } else {
        if (leaf < MB2 || !is_large(m, spa)) {
            return RMP_FAIL_SIZEMISMATCH;
        }
        if (any_in_use(m, number(spa))) {
            *verdict = RMP_GUEST_NPF;
            return RMP_OK;
        }
    }
    p = &m->page[governor(m, number(spa))];
    *unchanged = p->validated == validate;
    p->validated = validate;
    touch(m, governor(m, number(spa)), 1);
    return RMP_OK;
}

int model_adjust(Model *m, uint64_t spa, uint64_t gpa, uint64_t leaf,
                 unsigned asid, bool size_2m, uint64_t rdx, unsigned vmpl,
                 RmpVerdict *verdict)
{
    unsigned target = rdx % 256, mask = rdx / 256 % 256;
    bool vmsa = rdx / 65536 % 2;
    ModelPage *p;

    *verdict = RMP_GUEST_OK;
    if (target > 3) {
        return RMP_FAIL_INPUT;
    }
    if (!private_page(m, spa, gpa, asid)) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    if (is_large(m, spa) && !size_2m) {
        *verdict = RMP_GUEST_NPF_SIZEM;
        return RMP_OK;
    }
    if (!is_large(m, spa) && size_2m) {
        return RMP_FAIL_SIZEMISMATCH;
    }
    if (is_large(m, spa) != (leaf >= MB2)) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    if (size_2m && any_in_use(m, number(spa))) {
        *verdict = RMP_GUEST_NPF;
        return RMP_OK;
    }
    p = &m->page[governor(m, number(spa))];
    if (!p->validated) {
        *verdict = RMP_GUEST_VC;
        return RMP_OK;
    }
    if ((mask & p->perms[vmpl]) != mask) {
        return RMP_FAIL_PERMISSION;
    }
    p->perms[target] = mask;
    if (vmpl == 0) {
        p->vmsa = vmsa;
    }
    touch(m, governor(m, number(spa)), 1);
    return RMP_OK;
}

RmpVerdict model_check_private(const Model *m, uint64_t spa, uint64_t gpa,
                               uint64_t leaf, unsigned asid, unsigned vmpl,
                               uint8_t *perms)
{
    const ModelPage *p;

    *perms = 0;
    if (!private_page(m, spa, gpa, asid)) {
        return RMP_GUEST_NPF;
    }
    if (leaf == 4096 ? is_large(m, spa) : !is_large(m, spa)) {
        return RMP_GUEST_NPF;
    }
    p = &m->page[governor(m, number(spa))];
    if (!p->validated) {
        return RMP_GUEST_VC;
    }
    *perms = p->perms[vmpl];
    return RMP_GUEST_OK;
}

int model_query(const Model *m, uint64_t spa, uint64_t gpa, uint64_t leaf,
                unsigned asid, unsigned target, RmpVerdict *verdict,
                bool *size_2m, uint8_t *perms, bool *vmsa)
{
    *verdict = model_check_private(m, spa, gpa, leaf, asid, target, perms);
    *size_2m = false;
    *vmsa = false;
    if (*verdict == RMP_GUEST_OK) {
        *size_2m = is_large(m, spa);
        *vmsa = m->page[governor(m, number(spa))].vmsa;
    }
    return RMP_OK;
}

bool model_hv_owned(const Model *m, uint64_t spa, uint64_t leaf)
{
    unsigned i, base;

    if (!covered(spa)) {
        return true;
    }
    if (m->page[number(spa)].assigned || m->page[number(spa)].in_use) {
        return false;
    }
    if (leaf == 4096) {
        return true;
    }
    base = region(number(spa));
    for (i = 0; i < 512; i++) {
        if (m->page[base + i].assigned) {
            return false;
        }
    }
    return !(m->erratum && m->page[base].in_use);
}

const char *model_vmsa_refused(const Model *m, uint64_t spa, unsigned asid,
                               bool snp_active)
{
    const ModelPage *p;

    if (!snp_active) {
        if (!covered(spa)) {
            return NULL;
        }
        if (m->page[number(spa)].assigned) {
            return "VMSA-01";
        }
        return m->page[number(spa)].in_use ? "VMSA-08" : NULL;
    }
    if (!covered(spa)) {
        return "VMSA-02";
    }
    if (locked(m, number(spa))) {
        return "VMSA-08";
    }
    p = &m->page[governor(m, number(spa))];
    if (!p->assigned || p->asid != asid) {
        return "VMSA-03";
    }
    if (p->immutable) {
        return "VMSA-04";
    }
    return p->vmsa ? NULL : "VMSA-05";
}

bool model_use_begin(Model *m, uint64_t spa)
{
    if (!covered(spa)) {
        return true;
    }
    if (m->page[number(spa)].in_use) {
        return false;
    }
    m->page[number(spa)].in_use = true;
    touch(m, number(spa), 1);
    return true;
}

void model_use_end(Model *m, uint64_t spa)
{
    m->page[number(spa)].in_use = false;
    touch(m, number(spa), 1);
}

RmpPageState model_page_state(const Model *m, uint64_t spa, bool *size_2m)
{
    const ModelPage *p;

    *size_2m = false;
    if (!covered(spa)) {
        return RMP_PAGE_DEFAULT;
    }
    p = &m->page[governor(m, number(spa))];
    *size_2m = p->large;
    if (locked(m, number(spa)) || (p->large && any_in_use(m, number(spa)))) {
        return RMP_PAGE_IN_USE;
    }
    if (p->table) {
        return RMP_PAGE_TABLE;
    }
    if (!p->assigned && !p->immutable) {
        return RMP_PAGE_HYPERVISOR;
    }
    if (!p->assigned && p->immutable) {
        return RMP_PAGE_HV_FIXED;
    }
    if (p->asid == 0 && !p->immutable) {
        return RMP_PAGE_RECLAIM;
    }
    if (p->asid == 0 && p->vmsa) {
        return RMP_PAGE_CONTEXT;
    }
    if (p->asid == 0 && p->gpa > 0) {
        return RMP_PAGE_METADATA;
    }
    if (p->asid == 0) {
        return RMP_PAGE_FIRMWARE;
    }
    if (p->immutable && !p->validated) {
        return RMP_PAGE_PRE_GUEST;
    }
    if (p->immutable && p->validated) {
        return RMP_PAGE_PRE_SWAP;
    }
    return p->validated ? RMP_PAGE_GUEST_VALID : RMP_PAGE_GUEST_INVALID;
}

void model_fw_init(Model *m)
{
    unsigned first = m->base / 4096, last = m->end / 4096, i;

    memset(m->page, 0, sizeof(m->page));
    for (i = 0; i < MODEL_PAGES; i++) {
        if (i >= first && i <= last) {
            m->page[i].assigned = true;
            m->page[i].immutable = true;
            m->page[i].table = true;
        } else if (region(i) == region(first) || region(i) == region(last)) {
            m->page[i].immutable = true;
        }
    }
    touch(m, 0, MODEL_PAGES);
}

bool model_fw_move(Model *m, uint64_t spa, RmpPageState from, RmpPageState to)
{
    bool large;
    ModelPage *p;

    if (model_page_state(m, spa, &large) != from || large) {
        return false;
    }
    p = covered(spa) ? &m->page[number(spa)] : NULL;
    if (from == RMP_PAGE_HYPERVISOR && to == RMP_PAGE_HV_FIXED) {
        p->immutable = true;
    } else if (from == RMP_PAGE_HYPERVISOR && to == RMP_PAGE_FIRMWARE) {
        p->assigned = true;
        p->immutable = true;
    } else if (from == RMP_PAGE_FIRMWARE && to == RMP_PAGE_CONTEXT) {
        p->vmsa = true;
    } else if (from == RMP_PAGE_FIRMWARE && to == RMP_PAGE_RECLAIM) {
        p->validated = false;
        p->immutable = false;
    } else if (from == RMP_PAGE_CONTEXT && to == RMP_PAGE_FIRMWARE) {
        p->vmsa = false;
        p->gpa = 0;
    } else if (from == RMP_PAGE_METADATA && to == RMP_PAGE_RECLAIM) {
        p->immutable = false;
        p->gpa = 0;
    } else if ((from == RMP_PAGE_PRE_GUEST && to == RMP_PAGE_GUEST_INVALID) ||
               (from == RMP_PAGE_PRE_SWAP && to == RMP_PAGE_GUEST_VALID)) {
        p->immutable = false;
    } else if ((from == RMP_PAGE_RECLAIM || from == RMP_PAGE_FIRMWARE) &&
               to == RMP_PAGE_HYPERVISOR) {
        memset(p, 0, sizeof(*p));
    } else {
        return false;
    }
    touch(m, number(spa), 1);
    return true;
}

int model_fw_reclaim(Model *m, uint64_t spa, bool size_2m)
{
    bool large;
    RmpPageState state = model_page_state(m, spa, &large);
    ModelPage *p;

    if (state != RMP_PAGE_FIRMWARE && state != RMP_PAGE_METADATA &&
        state != RMP_PAGE_RECLAIM && state != RMP_PAGE_PRE_GUEST &&
        state != RMP_PAGE_PRE_SWAP) {
        return RMP_FAIL_PERMISSION;
    }
    if (large != size_2m) {
        return RMP_FAIL_SIZEMISMATCH;
    }
    p = &m->page[governor(m, number(spa))];
    p->immutable = false;
    if (state == RMP_PAGE_METADATA) {
        p->gpa = 0;
    }
    touch(m, governor(m, number(spa)), 1);
    return RMP_OK;
}

int model_fw_launch_update(Model *m, uint64_t spa, unsigned asid, bool size_2m,
                           bool vmsa, const uint8_t perms[3])
{
    bool large;
    ModelPage *p;

    if (model_page_state(m, spa, &large) != RMP_PAGE_PRE_GUEST) {
        return RMP_FAIL_PERMISSION;
    }
    p = &m->page[governor(m, number(spa))];
    if (p->asid != asid) {
        return RMP_FAIL_INPUT;
    }
    if (large != size_2m || (vmsa && large)) {
        return RMP_FAIL_SIZEMISMATCH;
    }
    p->immutable = false;
    p->validated = true;
    p->vmsa = vmsa;
    p->perms[0] = 0x1f;
    memcpy(&p->perms[1], perms, 3);
    touch(m, governor(m, number(spa)), 1);
    return RMP_OK;
}

uint64_t model_asid_pages(const Model *m, unsigned asid)
{
    uint64_t nr = 0;
    unsigned i, owner;

    for (i = 0; i < MODEL_PAGES; i++) {
        owner = m->page[governor(m, i)].asid;
        nr += m->page[i].assigned && (asid ? owner == asid : owner != 0);
    }
    return nr;
}
