//! The text of strace, as calls.

/// A system call that has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: Vec<Argument>,
    /// What it returned; none when it failed.
    pub(crate) returned: Option<i64>,
    /// How many calls had returned when this one began.
    pub(crate) began: usize,
}

/// An argument, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Bytes(Vec<u8>),
    /// A number, flags, or whatever else strace says.
    Word(String),
    /// The parts of a vector, or of a structure.
    List(Vec<Argument>),
}

impl Argument {
    pub(crate) fn number(&self) -> Option<i64> {
        let Self::Word(word) = self else { return None };
        match word.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        }
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        matches!(self, Self::Word(word) if word.split('|').any(|one| one == flag))
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Word(_) | Self::List(_) => None,
        }
    }
}

/// Splits a line of `strace -f -o` into the thread and the rest.
pub(crate) fn thread(line: &str) -> Result<(u32, &str), String> {
    let (thread, rest) = line.split_once(' ').ok_or_else(|| format!("no thread: {}", shortened(line)))?;
    Ok((thread.parse().map_err(|_| format!("no thread: {}", shortened(line)))?, rest.trim_start()))
}

/// Parses `name(arguments) = result`.
pub(crate) fn call(text: &str, began: usize) -> Result<Call<'_>, String> {
    let wrong = || format!("not a call: {}", shortened(text));
    let (name, rest) = text.split_once('(').ok_or_else(wrong)?;
    let mut reader = Reader { rest: rest.as_bytes() };
    let arguments = reader.list(b')')?;
    let result = std::str::from_utf8(reader.rest).map_err(|_| wrong())?.trim_start();
    let result = result.strip_prefix("= ").ok_or_else(wrong)?;
    let word = result.split(' ').next().unwrap_or_default();
    let returned = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
        None if word == "?" => None,
        None => Some(word.parse().map_err(|_| wrong())?),
    };
    Ok(Call { name, arguments, returned: returned.filter(|value| *value >= 0), began })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Arguments up to `end`, which is taken, too.
    fn list(&mut self, end: u8) -> Result<Vec<Argument>, String> {
        let mut list = Vec::new();
        loop {
            match self.rest.first() {
                None => return Err("the call has no end".to_owned()),
                Some(b' ' | b',') => self.skip(1),
                Some(byte) if *byte == end => {
                    self.skip(1);
                    return Ok(list);
                }
                Some(_) => list.push(self.argument(end)?),
            }
        }
    }

    fn argument(&mut self, end: u8) -> Result<Argument, String> {
        // `iov_base=` and its like say what stands at that place anyway.
        let label = self.rest.iter().take_while(|byte| byte.is_ascii_lowercase() || **byte == b'_').count();
        if label > 0 && self.rest.get(label) == Some(&b'=') {
            self.skip(label + 1);
        }
        match self.rest.first() {
            Some(b'"') => {
                self.skip(1);
                self.string()
            }
            Some(b'[') => {
                self.skip(1);
                self.list(b']').map(Argument::List)
            }
            Some(b'{') => {
                self.skip(1);
                self.list(b'}').map(Argument::List)
            }
            _ => {
                let mut depth = 0_u32;
                let mut length = 0;
                for byte in self.rest {
                    match byte {
                        b'(' | b'[' | b'{' => depth += 1,
                        b')' | b']' | b'}' if depth > 0 => depth -= 1,
                        b',' if depth == 0 => break,
                        byte if *byte == end => break,
                        _ => {}
                    }
                    length += 1;
                }
                let word = String::from_utf8_lossy(&self.rest[..length]).trim().to_owned();
                self.skip(length);
                Ok(Argument::Word(word))
            }
        }
    }

    /// The rest of a string of `\x..`, up to its quote.
    fn string(&mut self) -> Result<Argument, String> {
        let mut bytes = Vec::new();
        let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        loop {
            match self.rest {
                [b'"', b'.', b'.', b'.', ..] => return Err("strace has cut a string short".to_owned()),
                [b'"', ..] => {
                    self.skip(1);
                    return Ok(Argument::Bytes(bytes));
                }
                [b'\\', b'x', high, low, ..] => {
                    let (high, low) = digit(*high).zip(digit(*low)).ok_or("not a hexadecimal string")?;
                    bytes.push(high << 4 | low);
                    self.skip(4);
                }
                _ => return Err(format!("not a string: {}", shortened(&String::from_utf8_lossy(self.rest)))),
            }
        }
    }
}

/// The start of a line that may be very long.
pub(crate) fn shortened(line: &str) -> String {
    line.chars().take(200).collect()
}
