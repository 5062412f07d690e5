//! Small ELF files, composed by us after the System V ABI and the Linux Standard Base ("Symbol Versioning").

/// What a composed program says about itself.
#[derive(Clone)]
pub struct Elf {
    /// 1: 32 bits, 2: 64 bits.
    pub class: u8,
    pub kind: u16,
    pub machine: u16,
    pub entry: u64,
    pub loader: Option<&'static str>,
    pub libraries: Vec<&'static str>,
    pub versions: Vec<&'static str>,
    /// Whether there are section headers.
    pub sections: bool,
}

impl Elf {
    pub const X86_64: u16 = 62;

    /// As a Rust program on Debian is linked.
    pub fn dynamic(versions: &[&'static str]) -> Self {
        Self {
            class: 2,
            kind: 3,
            machine: Self::X86_64,
            entry: 0x1000,
            loader: Some("/lib64/ld-linux-x86-64.so.2"),
            libraries: vec!["libc.so.6", "libgcc_s.so.1"],
            versions: versions.to_vec(),
            sections: true,
        }
    }

    pub fn without_loader() -> Self {
        Self { loader: None, libraries: vec![], versions: vec![], ..Self::dynamic(&[]) }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut strings = vec![0u8];
        let mut string = |text: &str| {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend(text.as_bytes());
            strings.push(0);
            at
        };
        let mut dynamic = Vec::new();
        for library in &self.libraries {
            dynamic.extend(1u64.to_le_bytes()); // DT_NEEDED
            dynamic.extend(u64::from(string(library)).to_le_bytes());
        }
        dynamic.extend([0; 16]);
        let mut needs = Vec::new();
        if !self.versions.is_empty() {
            let count = u16::try_from(self.versions.len()).unwrap();
            needs.extend(1u16.to_le_bytes());
            needs.extend(count.to_le_bytes());
            needs.extend(string("libc.so.6").to_le_bytes());
            needs.extend(16u32.to_le_bytes());
            needs.extend(0u32.to_le_bytes());
            for (index, version) in self.versions.iter().enumerate() {
                needs.extend([0; 8]); // hash, flags, index: not read
                needs.extend(string(version).to_le_bytes());
                let next: u32 = if index + 1 == self.versions.len() { 0 } else { 16 };
                needs.extend(next.to_le_bytes());
            }
        }
        let loader: Vec<u8> = self.loader.iter().flat_map(|path| path.bytes().chain([0])).collect();

        let mut file = vec![0; 64];
        let segments = u16::from(self.loader.is_some());
        let mut at = 64 + 56 * u64::from(segments);
        if self.loader.is_some() {
            file.extend(3u32.to_le_bytes()); // PT_INTERP
            file.extend(4u32.to_le_bytes());
            for value in [at, at, at, loader.len() as u64, loader.len() as u64, 1] {
                file.extend(value.to_le_bytes());
            }
        }
        let mut sections = vec![0; 64];
        let mut section = |kind: u32, data: &[u8], link: u32, info: u32, file: &mut Vec<u8>| {
            sections.extend(0u32.to_le_bytes());
            sections.extend(kind.to_le_bytes());
            for value in [0, 0, at, data.len() as u64] {
                sections.extend(value.to_le_bytes());
            }
            sections.extend(link.to_le_bytes());
            sections.extend(info.to_le_bytes());
            sections.extend([0; 16]);
            file.extend(data);
            at += data.len() as u64;
        };
        section(1, &loader, 0, 0, &mut file);
        section(3, &strings, 0, 0, &mut file); // SHT_STRTAB, number 2
        section(6, &dynamic, 2, 0, &mut file); // SHT_DYNAMIC
        section(0x6fff_fffe, &needs, 2, u32::from(!needs.is_empty()), &mut file); // SHT_GNU_verneed
        let sections_at = file.len() as u64;
        file.extend(&sections);

        let mut header = b"\x7fELF".to_vec();
        header.extend([self.class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        header.extend(self.kind.to_le_bytes());
        header.extend(self.machine.to_le_bytes());
        header.extend(1u32.to_le_bytes());
        for value in [self.entry, if segments == 0 { 0 } else { 64 }, if self.sections { sections_at } else { 0 }] {
            header.extend(value.to_le_bytes());
        }
        header.extend(0u32.to_le_bytes());
        // Without section headers: no number and no names of them. The names are those of number 2, and are not read.
        let (count, names) = if self.sections { (5, 2) } else { (0, 0) };
        for value in [64, 56, segments, 64, count, names] {
            header.extend(value.to_le_bytes());
        }
        file[..64].copy_from_slice(&header);
        file
    }
}
