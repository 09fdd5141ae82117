//! A helper process: sends the stdin that it was started with back to its parent.

use super::setup::FAILED;
use crate::sys::stdio;
use crate::transfer::control::ControlSocket;
use crate::transfer::messages::FromStdioHelper;

pub(super) fn run(control: &ControlSocket) -> ! {
    let sent = control.send(&FromStdioHelper::Stdin, &[stdio::standard(0)]);
    std::process::exit(if sent.is_ok() { 0 } else { FAILED })
}
