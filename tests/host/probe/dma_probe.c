// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA to a page that is assigned to a guest is refused (DMA-01), and Linux
 * hears of it by the IOMMU's event log.
 *
 * The device is QEMU's "edu", which copies between its buffer and memory when
 * told to.  Needs ccp loaded, so that the RMP is checked at all.  Loading fails
 * with -ECANCELED after the report on purpose: there is nothing to keep.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <asm/sev.h>

#define EDU_SOURCE	0x80
#define EDU_TARGET	0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_START	0x1
#define EDU_TO_MEMORY	0x2
#define EDU_BUFFER	0x40000

#define ASID		1
#define PATTERN		0x5a
#define OTHER_PATTERN	0xa5

static void report(bool ok, const char *what)
{
	pr_info("dma_probe: %s - %s\n", ok ? "ok" : "not ok", what);
}

static void edu_dma(void __iomem *io, dma_addr_t memory, bool to_memory)
{
	writeq(to_memory ? EDU_BUFFER : memory, io + EDU_SOURCE);
	writeq(to_memory ? memory : EDU_BUFFER, io + EDU_TARGET);
	writeq(16, io + EDU_COUNT);
	writeq(EDU_START | (to_memory ? EDU_TO_MEMORY : 0), io + EDU_COMMAND);
	while (readq(io + EDU_COMMAND) & EDU_START)
		msleep(20);
}

static void probe(struct device *dev, void __iomem *io, struct page *page)
{
	u8 *byte = page_address(page);
	dma_addr_t addr = dma_map_page(dev, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);

	if (dma_mapping_error(dev, addr)) {
		report(false, "no DMA mapping");
		return;
	}
	*byte = PATTERN;
	edu_dma(io, addr, false);
	*byte = 0;
	edu_dma(io, addr, true);
	report(*byte == PATTERN, "DMA-01: a shared page, both ways");

	*byte = OTHER_PATTERN;
	if (rmp_make_private(page_to_pfn(page), 0, PG_LEVEL_4K, ASID, false)) {
		report(false, "RMPUPDATE");
		return;
	}
	edu_dma(io, addr, true);
	if (rmp_make_shared(page_to_pfn(page), PG_LEVEL_4K)) {
		report(false, "RMPUPDATE back");
		return;
	}
	report(*byte == OTHER_PATTERN, "DMA-01: no write to an assigned page");
	edu_dma(io, addr, true);
	report(*byte == PATTERN, "DMA-01: the page is shared again");
	dma_unmap_page(dev, addr, PAGE_SIZE, DMA_BIDIRECTIONAL);
}

static int __init dma_probe_init(void)
{
	struct pci_dev *edu = pci_get_device(0x1234, 0x11e8, NULL);
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	void __iomem *io = NULL;

	if (edu && !pci_enable_device(edu))
		io = pci_iomap(edu, 0, 0);
	if (io && page && !dma_set_mask_and_coherent(&edu->dev, DMA_BIT_MASK(28))) {
		pci_set_master(edu);
		probe(&edu->dev, io, page);
		pci_clear_master(edu);
	} else {
		report(false, "no edu device");
	}
	if (io)
		pci_iounmap(edu, io);
	if (page)
		__free_page(page);
	pci_dev_put(edu);
	return -ECANCELED;
}
module_init(dma_probe_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("DMA to a page that is assigned to a guest");
