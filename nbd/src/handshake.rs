//! The server's side of the handshake: from the greeting to the transmission phase.
//!
//! The caller feeds input to [`Handshake::advance`] and sends what is appended to the output. Where the
//! handshake needs to know something of the exports, it stops with a question, the caller answers it
//! (after any asynchronous work) and calls `advance` again with the rest of the input.

use crate::cursor::Cursor;
use crate::export::{ExportInfo, ExportSummary, Negotiated, ReplyMode};
use crate::{limits, wire};

mod answer;
mod option;
mod step;

#[cfg(test)]
mod tests;

use answer::BASE_ALLOCATION_ID;
pub use answer::Refusal;
use option::{InfoRequest, MetaRequest, OptionError};
pub use step::{Advance, CloseReason, Config, Purpose, Step, TlsPolicy};

/// The question whose answer is awaited.
#[derive(Debug)]
enum Question {
    List,
    ExportName,
    Info(InfoRequest),
    Meta(MetaRequest),
}

#[derive(Debug)]
enum Phase {
    /// The client's flags come next.
    ClientFlags,
    /// An option comes next.
    Options,
    /// The data of an option that is too long is thrown away.
    Skip { option: u32, left: u32 },
    /// The caller owes an answer.
    Asked(Question),
    /// The caller owes a [`Handshake::tls_started`].
    TlsStarting,
    /// The next step is known, and the last.
    Over(Step),
}

/// The state of one handshake.
#[derive(Debug)]
pub struct Handshake {
    config: Config,
    phase: Phase,
    fixed: bool,
    no_zeroes: bool,
    tls: bool,
    options: u32,
    mode: ReplyMode,
    /// The canonical name of the export for which `base:allocation` was chosen last.
    context_of: Option<String>,
}

/// The outcome of one state's work.
enum Progress {
    /// So many bytes were used; go on.
    Used(usize),
    /// So many bytes were used; the caller has to do something.
    Stop(usize, Step),
}

impl Handshake {
    /// Starts a handshake and appends the server's greeting to `out`.
    pub fn new(config: Config, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&wire::NBD_MAGIC.to_be_bytes());
        out.extend_from_slice(&wire::NBD_OPT_MAGIC.to_be_bytes());
        let flags = wire::NBD_FLAG_FIXED_NEWSTYLE | wire::NBD_FLAG_NO_ZEROES;
        out.extend_from_slice(&flags.to_be_bytes());
        Self {
            config,
            phase: Phase::ClientFlags,
            fixed: false,
            no_zeroes: false,
            tls: false,
            options: 0,
            mode: ReplyMode::Simple,
            context_of: None,
        }
    }

    /// Works through `input` as far as possible without an answer from the caller. Appends replies to
    /// `out`; their size is bounded by that of the input.
    pub fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Advance {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let progress = match &self.phase {
                Phase::ClientFlags => self.client_flags(rest),
                Phase::Options => self.option(rest, out),
                Phase::Skip { option, left } => self.skip(*option, *left, rest, out),
                Phase::Asked(question) => unreachable!("the answer to {question:?} is owed"),
                Phase::TlsStarting => unreachable!("tls_started() is owed"),
                Phase::Over(step) => Progress::Stop(0, step.clone()),
            };
            match progress {
                Progress::Used(bytes) => consumed += bytes,
                Progress::Stop(bytes, step) => {
                    return Advance { consumed: consumed + bytes, step };
                }
            }
        }
    }

    /// The stream now runs under TLS: all that was negotiated before is forgotten.
    pub fn tls_started(&mut self) {
        assert!(matches!(self.phase, Phase::TlsStarting), "only after Step::StartTls");
        self.tls = true;
        self.mode = ReplyMode::Simple;
        self.context_of = None;
        self.phase = Phase::Options;
    }

    fn client_flags(&mut self, input: &[u8]) -> Progress {
        let Some(flags) = Cursor::new(input).u32() else {
            return Progress::Stop(0, Step::NeedInput { bytes: wire::CLIENT_FLAGS_BYTES });
        };
        let fixed = u32::from(wire::NBD_FLAG_FIXED_NEWSTYLE);
        let no_zeroes = u32::from(wire::NBD_FLAG_NO_ZEROES);
        if flags & !(fixed | no_zeroes) != 0 {
            return self.close(CloseReason::UnknownClientFlags { flags });
        }
        self.fixed = flags & fixed != 0;
        self.no_zeroes = flags & no_zeroes != 0;
        self.phase = Phase::Options;
        Progress::Used(wire::CLIENT_FLAGS_BYTES)
    }

    fn option(&mut self, input: &[u8], out: &mut Vec<u8>) -> Progress {
        let mut cursor = Cursor::new(input);
        let header = (cursor.u64(), cursor.u32(), cursor.u32());
        let (Some(magic), Some(option), Some(length)) = header else {
            return Progress::Stop(0, Step::NeedInput { bytes: wire::OPTION_HEADER_BYTES });
        };
        if magic != wire::NBD_OPT_MAGIC {
            return self.close(CloseReason::BadOptionMagic);
        }
        if !self.fixed && option != wire::NBD_OPT_EXPORT_NAME {
            return self.close(CloseReason::NotFixed { option });
        }
        if length > limits::MAX_OPTION_SKIP {
            return self.close(CloseReason::OptionTooLong { length });
        }
        if self.options == limits::MAX_OPTIONS {
            return self.close(CloseReason::TooManyOptions);
        }
        if length > limits::MAX_OPTION_DATA {
            self.options += 1;
            self.phase = Phase::Skip { option, left: length };
            return Progress::Used(wire::OPTION_HEADER_BYTES);
        }
        let bytes = wire::OPTION_HEADER_BYTES + length as usize;
        let Some(data) = cursor.take(length as usize) else {
            return Progress::Stop(0, Step::NeedInput { bytes });
        };
        self.options += 1;
        match self.serve(option, data, cursor.is_empty(), out) {
            Some(step) => Progress::Stop(bytes, step),
            None => Progress::Used(bytes),
        }
    }

    fn skip(&mut self, option: u32, left: u32, input: &[u8], out: &mut Vec<u8>) -> Progress {
        let here = usize::min(input.len(), left as usize);
        let left = left - u32::try_from(here).unwrap_or(left);
        if left > 0 {
            self.phase = Phase::Skip { option, left };
            return Progress::Stop(here, Step::NeedInput { bytes: 1 });
        }
        if option == wire::NBD_OPT_SET_META_CONTEXT {
            self.context_of = None;
        }
        if option == wire::NBD_OPT_EXPORT_NAME {
            return Progress::Stop(here, self.give_up(Refusal::TooBig));
        }
        answer::error(option, Refusal::TooBig, Refusal::TooBig.message(), out);
        self.phase = Phase::Options;
        Progress::Used(here)
    }

    /// Serves one complete option; gives the step if the caller has to do something.
    fn serve(&mut self, option: u32, data: &[u8], alone: bool, out: &mut Vec<u8>) -> Option<Step> {
        let tls_missing = self.config.tls == TlsPolicy::Required && !self.tls;
        if tls_missing && !matches!(option, wire::NBD_OPT_STARTTLS | wire::NBD_OPT_ABORT) {
            return self.refuse_option(option, Refusal::TlsRequired, out);
        }
        match option {
            wire::NBD_OPT_EXPORT_NAME => self.export_name(data),
            wire::NBD_OPT_ABORT => {
                answer::ack(option, out);
                Some(self.over(Step::Close(CloseReason::Aborted)))
            }
            wire::NBD_OPT_STARTTLS => self.start_tls(data, alone, out),
            wire::NBD_OPT_LIST if data.is_empty() => self.ask(Question::List, Step::ListExports),
            wire::NBD_OPT_STRUCTURED_REPLY if self.mode == ReplyMode::Extended => {
                self.refuse_option(option, Refusal::ExtendedHeaders, out)
            }
            wire::NBD_OPT_STRUCTURED_REPLY if data.is_empty() => {
                self.mode = ReplyMode::Structured;
                answer::ack(option, out);
                None
            }
            wire::NBD_OPT_EXTENDED_HEADERS if data.is_empty() => {
                self.mode = ReplyMode::Extended;
                answer::ack(option, out);
                None
            }
            wire::NBD_OPT_LIST
            | wire::NBD_OPT_STRUCTURED_REPLY
            | wire::NBD_OPT_EXTENDED_HEADERS => self.refuse_option(option, Refusal::Invalid, out),
            wire::NBD_OPT_INFO | wire::NBD_OPT_GO => self.info(option, data, out),
            wire::NBD_OPT_LIST_META_CONTEXT | wire::NBD_OPT_SET_META_CONTEXT => {
                self.meta(option, data, out)
            }
            _ => self.refuse_option(option, Refusal::Unsupported, out),
        }
    }

    fn export_name(&mut self, data: &[u8]) -> Option<Step> {
        // The protocol forbids this option after extended headers: it cannot announce them.
        if self.mode == ReplyMode::Extended {
            return Some(self.give_up(Refusal::ExtendedHeaders));
        }
        match option::name(data) {
            Ok(name) => {
                let step = Step::FindExport { name: name.to_owned(), purpose: Purpose::Open };
                self.ask(Question::ExportName, step)
            }
            Err(error) => Some(self.give_up(error.into())),
        }
    }

    fn start_tls(&mut self, data: &[u8], alone: bool, out: &mut Vec<u8>) -> Option<Step> {
        let option = wire::NBD_OPT_STARTTLS;
        if self.config.tls == TlsPolicy::Unsupported {
            return self.refuse_option(option, Refusal::Unsupported, out);
        }
        if self.tls || !data.is_empty() {
            return self.refuse_option(option, Refusal::Invalid, out);
        }
        if !alone {
            return Some(self.over(Step::Close(CloseReason::PlaintextAfterStartTls)));
        }
        answer::ack(option, out);
        self.phase = Phase::TlsStarting;
        Some(Step::StartTls)
    }

    fn info(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        match InfoRequest::parse(option, data) {
            Ok(request) => {
                let purpose =
                    if option == wire::NBD_OPT_GO { Purpose::Open } else { Purpose::Describe };
                let step = Step::FindExport { name: request.name.clone(), purpose };
                self.ask(Question::Info(request), step)
            }
            Err(error) => self.refuse_option(option, error.into(), out),
        }
    }

    fn meta(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        if option == wire::NBD_OPT_SET_META_CONTEXT {
            // Whatever comes of this request, it replaces the one before.
            self.context_of = None;
        }
        if !self.mode.has_chunks() {
            return self.refuse_option(option, Refusal::Invalid, out);
        }
        match MetaRequest::parse(option, data) {
            Ok(request) => {
                let name = request.export.clone();
                let step = Step::FindExport { name, purpose: Purpose::Describe };
                self.ask(Question::Meta(request), step)
            }
            Err(error) => self.refuse_option(option, error.into(), out),
        }
    }

    /// Answers [`Step::ListExports`].
    pub fn answer_list<'a>(
        &mut self,
        exports: impl IntoIterator<Item = ExportSummary<'a>>,
        out: &mut Vec<u8>,
    ) {
        let question = self.take_question();
        assert!(matches!(question, Question::List), "the question was {question:?}");
        for export in exports {
            answer::server(export, out);
        }
        answer::ack(wire::NBD_OPT_LIST, out);
    }

    /// Answers [`Step::FindExport`] with the export.
    pub fn answer_export(&mut self, export: &ExportInfo, out: &mut Vec<u8>) {
        match self.take_question() {
            Question::List => unreachable!("the question was the list of exports"),
            Question::ExportName => {
                answer::export_name(export, self.mode, self.no_zeroes, out);
                self.enter(export);
            }
            Question::Info(request) => {
                answer::info(&request, export, self.mode, out);
                if request.option == wire::NBD_OPT_GO {
                    self.enter(export);
                }
            }
            Question::Meta(request) => {
                answer::meta(&request, out);
                if request.option == wire::NBD_OPT_SET_META_CONTEXT && request.base_allocation {
                    self.context_of = Some(export.name.clone());
                }
            }
        }
    }

    /// Answers [`Step::ListExports`] or [`Step::FindExport`] with an error.
    pub fn refuse(&mut self, refusal: Refusal, out: &mut Vec<u8>) {
        self.refuse_saying(refusal, refusal.message(), out);
    }

    /// As [`Handshake::refuse`], with a text that tells the user more than the error does.
    pub fn refuse_saying(&mut self, refusal: Refusal, message: &str, out: &mut Vec<u8>) {
        let option = match self.take_question() {
            Question::List => wire::NBD_OPT_LIST,
            Question::ExportName => {
                self.give_up(refusal);
                return;
            }
            Question::Info(request) => request.option,
            Question::Meta(request) => request.option,
        };
        answer::error(option, refusal, message, out);
    }

    fn refuse_option(&mut self, option: u32, refusal: Refusal, out: &mut Vec<u8>) -> Option<Step> {
        if option == wire::NBD_OPT_EXPORT_NAME {
            return Some(self.give_up(refusal));
        }
        answer::error(option, refusal, refusal.message(), out);
        None
    }

    fn take_question(&mut self) -> Question {
        match std::mem::replace(&mut self.phase, Phase::Options) {
            Phase::Asked(question) => question,
            phase => unreachable!("an answer without a question, in {phase:?}"),
        }
    }

    fn ask(&mut self, question: Question, step: Step) -> Option<Step> {
        self.phase = Phase::Asked(question);
        Some(step)
    }

    fn enter(&mut self, export: &ExportInfo) {
        let chosen = self.context_of.as_ref() == Some(&export.name);
        self.phase = Phase::Over(Step::Transmission(Negotiated {
            export: export.name.clone(),
            size: export.size,
            read_only: export.read_only,
            mode: self.mode,
            base_allocation: chosen.then_some(BASE_ALLOCATION_ID),
            tls: self.tls,
        }));
    }

    fn over(&mut self, step: Step) -> Step {
        self.phase = Phase::Over(step.clone());
        step
    }

    fn give_up(&mut self, refusal: Refusal) -> Step {
        self.over(Step::Close(CloseReason::ExportName(refusal)))
    }

    fn close(&mut self, reason: CloseReason) -> Progress {
        Progress::Stop(0, self.over(Step::Close(reason)))
    }
}

impl From<OptionError> for Refusal {
    fn from(error: OptionError) -> Self {
        match error {
            OptionError::Malformed => Self::Invalid,
            OptionError::NameTooLong => Self::TooBig,
        }
    }
}
