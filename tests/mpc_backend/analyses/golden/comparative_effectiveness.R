# Golden numbers of comparative_effectiveness, by R's survival on its data set rotterdam: death after hormonal treatment or none of
# breast cancer, given to older women with more positive nodes. Writes rotterdam.csv (the data) and
# comparative_effectiveness.csv. Run once: Rscript comparative_effectiveness.R
library(survival)
data <- with(rotterdam, data.frame(
  hormon, year, age, size = as.character(size), grade, nodes, chemo, days = dtime, death,
  recur_days = rtime, recur))
write.csv(data, "rotterdam.csv", row.names = FALSE, quote = FALSE)

tau <- 60
data$month <- (data$days * 16 + 486) %/% 487
score <- fitted(glm(hormon ~ year + age + size + grade + nodes, binomial, data, epsilon = 1e-12))
cut <- function(e, t) pmin(pmax(e, t), 1 - t)
quintile <- function(e) findInterval(e, sort(e)[floor(1:4 * length(e) / 5) + 1]) + 1
own <- function(e) ifelse(data$hormon == 1, e, 1 - e)
stratum <- quintile(score)
in_arm <- ave(data$hormon, stratum, data$hormon, FUN = length)
weights <- list(
  iptw = 1 / own(cut(score, 0.01)), iptw05 = 1 / own(cut(score, 0.05)), overlap = 1 - own(score),
  strata = ave(data$hormon, stratum, FUN = length) / in_arm, none = rep(1, nrow(data)))
found <- NULL
add <- function(weights, arm, what, value) found <<- rbind(found, data.frame(weights, arm, what, value = sprintf("%.12g", value)))
columns <- with(data, cbind(year, age, size_le = size == "<=20", size_mid = size == "20-50", size_gt = size == ">50",
  grade, nodes, chemo))
for (kind in names(weights)) {
  w <- weights[[kind]]
  for (arm in 0:1) {
    rows <- data$hormon == arm
    fit <- survfit(Surv(month, death) ~ 1, data[rows, ], weights = w[rows], robust = TRUE)
    at <- summary(fit, times = tau)
    jackknife <- residuals(fit, times = tau, type = "auc")
    mean <- summary(fit, rmean = tau)$table["rmean"]
    add(kind, arm, "mean", mean)
    add(kind, arm, "mean_se", sqrt(sum((w[rows] * jackknife)^2)))
    add(kind, arm, "risk", 1 - at$surv)
    add(kind, arm, "risk_se", at$std.err)
    add(kind, arm, "effective", sum(w[rows])^2 / sum(w[rows]^2))
  }
  for (name in colnames(columns)) {
    x <- columns[, name]
    centre <- sapply(0:1, function(arm) weighted.mean(x[data$hormon == arm], w[data$hormon == arm]))
    spread <- sapply(0:1, function(arm) { y <- x[data$hormon == arm]; mean(y^2) - mean(y)^2 })
    add(kind, "", paste0("smd:", name), (centre[2] - centre[1]) / sqrt(mean(spread)))
  }
}
for (limit in c(0.01, 0.05)) for (arm in 0:1)
  add(paste0("extreme", limit), arm, "extreme", sum((score < limit | score > 1 - limit)[data$hormon == arm]))
write.csv(found, "comparative_effectiveness.csv", row.names = FALSE, quote = FALSE)
