//! The exports. Each runs inside `guarded`: no panic and no exception crosses the border.

use std::os::raw::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Once};

use crate::error::{internal, invalid, Result};
use crate::model::TextModel;
use crate::stream::Stream;
use crate::template::{ChatTemplate, Input};

pub struct ModelHandle(Arc<TextModel>);

pub struct StreamHandle {
    model: Arc<TextModel>,
    stream: Stream,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    data: *const c_char,
    size: usize,
}

#[repr(C)]
pub struct Info {
    vocab_size: i32,
    bos_id: i32,
    stop_ids: *const i32,
    num_stop_ids: usize,
    has_chat_template: i32,
}

#[repr(C)]
pub struct Chat {
    messages: Slice,
    tools: Slice,
    kwargs: Slice,
    template_name: Slice,
    add_generation_prompt: i32,
}

impl Slice {
    fn of(bytes: &[u8]) -> Slice {
        Slice { data: bytes.as_ptr().cast(), size: bytes.len() }
    }

    /// SAFETY: the caller of the C interface promises `size` readable bytes for the time of the call.
    unsafe fn text<'a>(self, what: &str) -> Result<&'a str> {
        if self.size == 0 {
            return Ok("");
        }
        let bytes = std::slice::from_raw_parts(self.data.cast::<u8>(), self.size);
        std::str::from_utf8(bytes)
            .map_err(|e| invalid(format!("{what}: not UTF-8 at byte {}", e.valid_up_to())))
    }

    unsafe fn optional_text<'a>(self, what: &str) -> Result<Option<&'a str>> {
        Ok(Some(self.text(what)?).filter(|text| !text.is_empty()))
    }
}

/// Copies into memory of C's allocator, with a NUL behind it.
fn give_bytes(bytes: &[u8]) -> *mut c_char {
    // SAFETY: the allocation has one byte more than is copied.
    unsafe {
        let memory = libc::malloc(bytes.len() + 1).cast::<u8>();
        if memory.is_null() {
            std::process::abort();
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len());
        *memory.add(bytes.len()) = 0;
        memory.cast()
    }
}

fn give_ids(ids: &[u32]) -> *mut i32 {
    // SAFETY: u32 and i32 have one layout; give_bytes copies, and malloc aligns for every type.
    let bytes = unsafe { std::slice::from_raw_parts(ids.as_ptr().cast::<u8>(), std::mem::size_of_val(ids)) };
    give_bytes(bytes).cast()
}

fn guarded(error: *mut *mut c_char, work: impl FnOnce() -> Result<()>) -> i32 {
    static SILENCE: Once = Once::new();
    // The message travels to the caller; nobody reads it on stderr.
    SILENCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(internal(format!("panic: {}", text.unwrap_or("unknown"))))
    });
    match result {
        Ok(()) => 0,
        Err(e) => {
            if !error.is_null() {
                // SAFETY: a non-null `error` is writable, says the header.
                unsafe { *error = give_bytes(e.message.as_bytes()) };
            }
            e.code as i32
        }
    }
}

/// SAFETY: `memory` is null or was given away by this crate.
#[no_mangle]
pub unsafe extern "C" fn phx_text_free(memory: *mut libc::c_void) {
    libc::free(memory);
}

/// SAFETY (this and all below): pointers are as the header says.
#[no_mangle]
pub unsafe extern "C" fn phx_text_open(
    path: Slice,
    model: *mut *mut ModelHandle,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let opened = TextModel::open(Path::new(path.text("path")?))?;
        *model = Box::into_raw(Box::new(ModelHandle(Arc::new(opened))));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_close(model: *mut ModelHandle) {
    if !model.is_null() {
        drop(Box::from_raw(model));
    }
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_get_info(model: *const ModelHandle) -> Info {
    let model = &(*model).0;
    Info {
        vocab_size: model.num_ids() as i32,
        bos_id: model.bos_id.map_or(-1, |id| id as i32),
        stop_ids: model.stop_ids.as_ptr(),
        num_stop_ids: model.stop_ids.len(),
        has_chat_template: i32::from(model.templates.iter().any(|(name, _)| name == "default")),
    }
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_encode(
    model: *const ModelHandle,
    text: Slice,
    add_special_tokens: i32,
    parse_special: i32,
    ids: *mut *mut i32,
    num_ids: *mut usize,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let encoded = (*model).0.encode(text.text("text")?, add_special_tokens != 0, parse_special != 0)?;
        *ids = give_ids(&encoded);
        *num_ids = encoded.len();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_decode(
    model: *const ModelHandle,
    ids: *const i32,
    num_ids: usize,
    skip_special_tokens: i32,
    text: *mut *mut c_char,
    size: *mut usize,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let ids = if num_ids == 0 { &[] } else { std::slice::from_raw_parts(ids, num_ids) };
        let decoded = (*model).0.decode(ids, skip_special_tokens != 0)?;
        *text = give_bytes(decoded.as_bytes());
        *size = decoded.len();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_token_bytes(model: *const ModelHandle, id: i32) -> Slice {
    Slice::of((*model).0.token_bytes(id))
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_token_text(model: *const ModelHandle, id: i32) -> Slice {
    Slice::of((*model).0.token_text(id))
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_is_special(model: *const ModelHandle, id: i32) -> i32 {
    i32::from((*model).0.is_special(id))
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_token_id(model: *const ModelHandle, text: Slice) -> i32 {
    let mut id = -1;
    guarded(std::ptr::null_mut(), || {
        id = (*model).0.token_id(text.text("token")?).map_or(-1, |id| id as i32);
        Ok(())
    });
    id
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_stream_new(
    model: *const ModelHandle,
    skip_special_tokens: i32,
    stream: *mut *mut StreamHandle,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let handle =
            StreamHandle { model: (*model).0.clone(), stream: Stream::new(skip_special_tokens != 0) };
        *stream = Box::into_raw(Box::new(handle));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_stream_free(stream: *mut StreamHandle) {
    if !stream.is_null() {
        drop(Box::from_raw(stream));
    }
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_stream_push(
    stream: *mut StreamHandle,
    id: i32,
    text: *mut Slice,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let handle = &mut *stream;
        *text = Slice::of(handle.stream.push(&handle.model, id)?.as_bytes());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_stream_flush(
    stream: *mut StreamHandle,
    text: *mut Slice,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let handle = &mut *stream;
        *text = Slice::of(handle.stream.flush(&handle.model)?.as_bytes());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_template_new(
    model: *const ModelHandle,
    source: Slice,
    chat_template: *mut *mut ChatTemplate,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let compiled = ChatTemplate::new((*model).0.clone(), source.optional_text("chat template")?)?;
        *chat_template = Box::into_raw(Box::new(compiled));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_template_free(chat_template: *mut ChatTemplate) {
    if !chat_template.is_null() {
        drop(Box::from_raw(chat_template));
    }
}

unsafe fn input<'a>(chat: &Chat) -> Result<Input<'a>> {
    Ok(Input {
        messages: chat.messages.text("messages")?,
        tools: chat.tools.optional_text("tools")?,
        kwargs: chat.kwargs.optional_text("chat_template_kwargs")?,
        template_name: chat.template_name.optional_text("template name")?,
        add_generation_prompt: chat.add_generation_prompt != 0,
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_render(
    chat_template: *const ChatTemplate,
    chat: *const Chat,
    text: *mut *mut c_char,
    size: *mut usize,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let rendered = (*chat_template).render(&input(&*chat)?)?;
        *text = give_bytes(rendered.as_bytes());
        *size = rendered.len();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn phx_text_encode_chat(
    chat_template: *const ChatTemplate,
    chat: *const Chat,
    ids: *mut *mut i32,
    num_ids: *mut usize,
    error: *mut *mut c_char,
) -> i32 {
    guarded(error, || {
        let encoded = (*chat_template).encode(&input(&*chat)?)?;
        *ids = give_ids(&encoded);
        *num_ids = encoded.len();
        Ok(())
    })
}
