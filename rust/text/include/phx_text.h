#pragma once

// The C interface of the Rust crate phx_text: tokenizers and chat templates. Only src/serve/text includes it.
//
// Rules for all functions:
// - Those that can fail return a phx_text_code. On failure outputs are untouched and *error, if error is not null,
//   becomes a message, to be freed with phx_text_free. A panic inside is a failure too, never the end of the process.
// - Texts are UTF-8 of a given length and need no NUL at the end. What comes back has a NUL at the end as well.
// - Models and templates may be used from many threads at once; a stream from one at a time.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum phx_text_code {
  PHX_TEXT_OK = 0,
  PHX_TEXT_INVALID_ARGUMENT = 1,  // a damaged file, a text that is not UTF-8, a template that raises
  PHX_TEXT_NOT_FOUND = 2,         // no such file, no tokenizer, no template
  PHX_TEXT_UNIMPLEMENTED = 3,     // a kind of tokenizer that is not known; the message names key and value
  PHX_TEXT_INTERNAL = 4           // an error of the system, or a bug
} phx_text_code;

typedef struct phx_text_model phx_text_model;
typedef struct phx_text_stream phx_text_stream;
typedef struct phx_text_template phx_text_template;

// A text that the caller only lends, or borrows. data may be null if size is 0.
typedef struct phx_text_slice {
  const char* data;
  size_t size;
} phx_text_slice;

// Frees what these functions give away: messages, texts, ids. Null is fine.
void phx_text_free(void* memory);

// Opens the tokenizer of a Hugging Face directory or a .gguf file. *model is closed with phx_text_close; streams and
// templates made from it live on.
phx_text_code phx_text_open(phx_text_slice path, phx_text_model** model, char** error);
void phx_text_close(phx_text_model* model);

typedef struct phx_text_info {
  int32_t vocab_size;         // one more than the largest id
  int32_t bos_id;             // -1: none
  const int32_t* stop_ids;    // ascending; lives as long as the model
  size_t num_stop_ids;
  int32_t has_chat_template;  // whether there is a template named "default"
} phx_text_info;

phx_text_info phx_text_get_info(const phx_text_model* model);

// *ids holds *num_ids ids, to be freed with phx_text_free.
phx_text_code phx_text_encode(const phx_text_model* model, phx_text_slice text, int32_t add_special_tokens,
                              int32_t parse_special, int32_t** ids, size_t* num_ids, char** error);

// *text holds *size bytes, to be freed with phx_text_free.
phx_text_code phx_text_decode(const phx_text_model* model, const int32_t* ids, size_t num_ids,
                              int32_t skip_special_tokens, char** text, size_t* size, char** error);

// A token's bytes, and the token as the vocabulary writes it. Empty if the id is unknown; live as long as the model.
phx_text_slice phx_text_token_bytes(const phx_text_model* model, int32_t id);
phx_text_slice phx_text_token_text(const phx_text_model* model, int32_t id);
int32_t phx_text_is_special(const phx_text_model* model, int32_t id);
// -1: no such token.
int32_t phx_text_token_id(const phx_text_model* model, phx_text_slice text);

// A streaming decoder. Push and flush return text that lives until the next call on the same stream.
phx_text_code phx_text_stream_new(const phx_text_model* model, int32_t skip_special_tokens, phx_text_stream** stream,
                                  char** error);
void phx_text_stream_free(phx_text_stream* stream);
phx_text_code phx_text_stream_push(phx_text_stream* stream, int32_t id, phx_text_slice* text, char** error);
phx_text_code phx_text_stream_flush(phx_text_stream* stream, phx_text_slice* text, char** error);

// Compiles the model's chat templates, or `source` instead of them if it is not empty.
phx_text_code phx_text_template_new(const phx_text_model* model, phx_text_slice source,
                                    phx_text_template** chat_template, char** error);
void phx_text_template_free(phx_text_template* chat_template);

// What a template is given, as JSON texts. Empty: no tools, no further variables, the template chosen by rule.
typedef struct phx_text_chat {
  phx_text_slice messages;  // array of objects
  phx_text_slice tools;     // array or null
  phx_text_slice kwargs;    // object or null
  phx_text_slice template_name;
  int32_t add_generation_prompt;
} phx_text_chat;

// The rendered prompt.
phx_text_code phx_text_render(const phx_text_template* chat_template, const phx_text_chat* chat, char** text,
                              size_t* size, char** error);
// The prompt as ids. The text of a control token in messages, tools or kwargs stays text.
phx_text_code phx_text_encode_chat(const phx_text_template* chat_template, const phx_text_chat* chat, int32_t** ids,
                                   size_t* num_ids, char** error);

#ifdef __cplusplus
}  // extern "C"
#endif
