#include "plan/worker_messages.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

TEST(WorkerMessagesTest, ComeBackAsTheyWere) {
  WorkerInit init;
  init.rank = 3;
  init.tp = 2;
  init.model_path = "/models/a \"quoted\" name";
  init.cpus = {4, 5};
  init.channel.plan_bytes = size_t{1} << 33;
  WorkerInit init_back;
  ASSERT_TRUE(FromMessage(ToMessage(init), &init_back).ok());
  EXPECT_EQ(init_back.rank, 3);
  EXPECT_EQ(init_back.tp, 2);
  EXPECT_EQ(init_back.model_path, init.model_path);
  EXPECT_EQ(init_back.cpus, init.cpus);
  EXPECT_EQ(init_back.channel.plan_bytes, size_t{1} << 33);

  ModelFacts facts;
  facts.vocab_size = 49152;
  facts.packed_bytes = int64_t{5} << 40;
  ModelFacts facts_back;
  ASSERT_TRUE(FromMessage(ToMessage(facts), &facts_back).ok());
  EXPECT_EQ(facts_back.vocab_size, 49152);
  EXPECT_EQ(facts_back.packed_bytes, int64_t{5} << 40);

  WorkerError error_back;
  ASSERT_TRUE(FromMessage(ToMessage(WorkerError{NotFound("no such file: x")}), &error_back).ok());
  EXPECT_EQ(error_back.status.code(), StatusCode::kNotFound);
  EXPECT_EQ(error_back.status.message(), "no such file: x");

  EXPECT_EQ(*KindOfMessage(ToMessage(MessageKind::kBuild)), MessageKind::kBuild);
  EXPECT_EQ(*KindOfMessage(ToMessage(WorkerReady{})), MessageKind::kReady);
}

TEST(WorkerMessagesTest, OtherTextsAreErrors) {
  WorkerMemory memory;
  EXPECT_FALSE(FromMessage("", &memory).ok());
  EXPECT_FALSE(FromMessage("[]", &memory).ok());
  EXPECT_FALSE(FromMessage(R"({"kind": "ready"})", &memory).ok());
  const Status missing = FromMessage(R"({"kind": "memory", "num_blocks": 3})", &memory);
  EXPECT_NE(missing.message().find("plane_offset"), std::string::npos);
  PackProgress progress;
  EXPECT_FALSE(FromMessage(R"({"kind": "progress", "tasks_done": 5000000000})", &progress).ok());
  EXPECT_FALSE(KindOfMessage(R"({"kind": "nonsense"})").ok());
}

}  // namespace
}  // namespace phalanx
