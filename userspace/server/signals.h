#pragma once

#include <functional>
#include <initializer_list>
#include <memory>

#include "core/fd.h"
#include "core/result.h"
#include "io/loop.h"

namespace sluice::server {

// Signals as events of the control loop. block() has to come before any thread is started: threads inherit the mask.
class Signals {
 public:
  static void block(std::initializer_list<int> signals);
  static Result<std::unique_ptr<Signals>> watch(io::Loop& loop, std::initializer_list<int> signals,
                                                std::function<void(int)> on_signal);
  // Ends the watch; run a turn of the loop before the destructor.
  void stop();

 private:
  Signals(io::Loop& loop, Fd fd, std::function<void(int)> on_signal);
  static void ready(io::Op& op, io::Completion& c);
  io::Loop& loop_;
  Fd fd_;
  std::function<void(int)> on_signal_;
  bool stopped_ = false;
  io::Op op_;
};

}  // namespace sluice::server
