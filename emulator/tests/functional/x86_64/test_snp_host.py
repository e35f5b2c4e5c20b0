#!/usr/bin/env python3
#
# Functional test of the emulated SEV-SNP host: a bare-metal image is
# hypervisor and guest at once, and holds the machine to its rules.
#
# SPDX-License-Identifier: GPL-2.0-or-later

import os
import re
import unittest

from qemu_test import QemuSystemTest


CPU = ('EPYC-Genoa,check=off,+svm,+npt,-hypervisor,phys-bits=48,'
       '+lbrv,+nrip-save,+flushbyasid,+decodeassists')
IMAGE = os.getenv('QEMU_TEST_SNP_IMAGE')


class SnpHost(QemuSystemTest):

    timeout = 300

    def setUp(self):
        super().setUp()
        self.require_accelerator('tcg')
        self.require_device('amd-psp')
        self.set_machine('q35')

    def add_host(self, host, accel='tcg,thread=multi'):
        self.vm.add_args('-accel', accel, '-cpu', CPU,
                         '-smp', '2', '-m', '128', '-nodefaults',
                         '-machine', 'kernel-irqchip=split,vmport=off,usb=off',
                         '-global', 'apic.vapic=off', '-no-reboot',
                         '-object', f'x-snp-host,id=snp0{host}',
                         '-device', 'amd-iommu', '-device', 'edu',
                         '-device', 'amd-psp,x86-snp-shutdown=on')
        if IMAGE:
            self.vm.add_args('-bios', IMAGE)

    @unittest.skipUnless(IMAGE, 'QEMU_TEST_SNP_IMAGE names no image')
    def test_conformance(self):
        said = self.scratch_file('tap')
        self.add_host(',pa-reduction=5,stale=use')
        self.vm.add_args('-serial', f'file:{said}')
        self.vm.launch()
        self.vm.wait(timeout=self.timeout)
        with open(said, encoding='ascii') as f:
            lines = f.read().splitlines()
        self.assertEqual([x for x in lines if x.startswith('not ok')], [])
        passed = sum(x.startswith('ok ') for x in lines)
        self.assertGreater(passed, 0)
        # No plan, no pass: it is the last thing that the image says
        self.assertEqual(lines[-1], f'1..{passed}')

    def test_query(self):
        self.add_host('')
        self.vm.add_args('-S')
        self.vm.launch()
        # Nobody has set SYSCFG.SNP_EN
        answer = self.vm.qmp('x-query-snp-page', address=0)
        self.assertIn('SNP_EN', answer['error']['desc'])
        # What the machine has been made from stays as it is
        for path, name, value in (('/objects/snp0', 'asids', 10),
                                  ('/objects/snp0', 'rmp-base', 0),
                                  ('/machine', 'snp-host', '')):
            answer = self.vm.qmp('qom-set', path=path, property=name,
                                 value=value)
            self.assertIn('error', answer, name)

    def test_cpu_model(self):
        self.add_host('')
        self.vm.add_args('-S')
        self.vm.launch()
        model = self.vm.cmd('query-cpu-model-expansion', type='full',
                            model={'name': 'EPYC-Genoa'})['model']['props']
        self.assertTrue(model['sev-snp'])
        self.assertTrue(model['rmpquery'])
        # That is Zen 5's
        self.assertFalse(model['rmpread'])

    def refused(self, why):
        self.vm.set_qmp_monitor(enabled=False)
        self.vm.launch()
        self.vm.wait()
        self.assertNotEqual(self.vm.exitcode(), 0)
        self.assertRegex(self.vm.get_log(), re.escape(why))

    def test_refused(self):
        self.add_host('')
        self.vm.add_args('-cpu', CPU + ',-sev-es')
        self.refused('CPUID 8000_001F')

    def test_refused_memory(self):
        self.add_host('')
        self.vm.add_args('-m', '128,maxmem=1G,slots=1')
        self.refused('memory cannot be plugged in')

    def test_refused_accelerator(self):
        # As KVM is, which not every machine has
        self.add_host('', accel='qtest')
        self.refused('use -accel tcg')


if __name__ == '__main__':
    QemuSystemTest.main()
