#pragma once

namespace phalanx {

// Prints file, line, condition and a stack of addresses to stderr, then aborts. For our own bugs only; never
// reachable from what a user sends.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace phalanx

#define CHECK(condition)                             \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::phalanx::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define DCHECK(condition) static_cast<void>(sizeof(!(condition)))
#else
#define DCHECK(condition) CHECK(condition)
#endif
