// What the thread sanitizer must not report, for programs that use gRPC. A system's gRPC, protobuf
// and abseil are not built with -fsanitize=thread: the sanitizer sees their calls into libc and
// into templates that are compiled here as well, but not their locks. Such reports are left out:
// accesses from inside gRPC's core, and calls into libc from modules that are not instrumented. Our
// own code is checked, on gRPC's threads as well.
//
// To be included by one file of a program, which adds lines of its own.
#pragma once

#define REENACT_TSAN_GRPC_OPTIONS "ignore_noninstrumented_modules=1"

#define REENACT_TSAN_GRPC_SUPPRESSIONS                                                      \
  "race:libgrpc.so\n" /* gRPC's templates are compiled with our code; the locks are not. */ \
  "race_top:/usr/include/grpcpp/\n"                                                         \
  "race:grpc::internal::CallOp\n"                                                           \
  "race:grpc::internal::InterceptorBatchMethodsImpl\n"                                      \
  "race:grpc::internal::CallbackWithSuccessTag::Set\n"                                      \
  "race:Impl::ServerCallbackReaderWriterImpl\n"                                             \
  "race:Impl::ServerCallbackUnaryImpl\n"                                                    \
  "race:Impl::ServerCallbackWriterImpl\n"                                                   \
  "race:Impl::~ServerCallback\n"                                                            \
  "race:PreBindBacklog\n"                                                                   \
  "race:grpc::internal::FinishOnlyReactor\n"
