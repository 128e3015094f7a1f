#include "serve/http/router.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

Router MakeRouter() {
  Router router;
  const HttpHandler handler = [](HttpRequest, std::shared_ptr<EventWriter>) {};
  router.Add("GET", "/v1/models", handler);
  router.Add("GET", "/v1/models/{model}", handler);
  router.Add("GET", "/v1/models/all", handler);
  router.Add("POST", "/v2/models/{model}/generate", handler);
  router.Add("GET", "/v2/models/{model}/ready", handler);
  return router;
}

TEST(RouterTest, FindsPathsWithAndWithoutParam) {
  const Router router = MakeRouter();
  EXPECT_NE(router.Find("GET", "/v1/models").handler, nullptr);
  EXPECT_EQ(router.Find("GET", "/v1/models/a%2Fb").param, "a/b");
  EXPECT_EQ(router.Find("GET", "/v1/models/all").param, "");
  EXPECT_EQ(router.Find("POST", "/v2/models/m.1/generate").param, "m.1");
  EXPECT_NE(router.Find("HEAD", "/v1/models").handler, nullptr);
}

TEST(RouterTest, UnknownPathAndWrongMethodDiffer) {
  const Router router = MakeRouter();
  for (const char* path : {"/", "/v1/models/", "/v1/models/a/b", "/v2/models//generate", "/v1/model", ""}) {
    const Router::Match match = router.Find("GET", path);
    EXPECT_EQ(match.handler, nullptr) << path;
    EXPECT_EQ(match.allow, "") << path;
  }
  const Router::Match match = router.Find("DELETE", "/v1/models");
  EXPECT_EQ(match.handler, nullptr);
  EXPECT_EQ(match.allow, "GET");
}

TEST(HttpMessageTest, PercentDecode) {
  EXPECT_EQ(PercentDecode("a%20b%2f"), "a b/");
  EXPECT_EQ(PercentDecode("100%"), "100%");
  EXPECT_EQ(PercentDecode("%zz%4"), "%zz%4");
}

}  // namespace
}  // namespace phalanx
