// Change of stacks for the emulator's fibers: what the calling convention keeps is saved on the stack that is left.
#pragma once
#include <cstddef>
#include <cstdint>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace tersor {
namespace emulate {

#if defined(__x86_64__)

// Saves the running stack's pointer in *from and goes on where `to` left off.
void switch_stack(void** from, void* to) asm("tersor_emulate_switch_stack");
asm(R"(
  .text
  .weak tersor_emulate_switch_stack
  .hidden tersor_emulate_switch_stack
  .type tersor_emulate_switch_stack, @function
tersor_emulate_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

// A pointer for switch_stack that begins at `main`, which never returns.
inline void* first_stack(char* stack, size_t bytes, void (*main)()) {
  auto** top = reinterpret_cast<void**>(stack + bytes);
  *--top = nullptr;                            // keeps the stack as after a call: 16 n + 8
  *--top = reinterpret_cast<void*>(main);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  return top;
}

#else

inline void switch_stack(void** from, void* to) {
  ucontext_t here;
  *from = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to));
}
inline void* first_stack(char* stack, size_t bytes, void (*main)()) {
  auto* context = reinterpret_cast<ucontext_t*>(stack);  // at the far end of the stack, which grows down towards it
  getcontext(context);
  context->uc_stack.ss_sp = stack + sizeof(ucontext_t);
  context->uc_stack.ss_size = bytes - sizeof(ucontext_t);
  context->uc_link = nullptr;
  makecontext(context, main, 0);
  return context;
}

#endif

}  // namespace emulate
}  // namespace tersor
