# The same comparison of rotterdam.csv as in comparative_effectiveness.R by packages that were made for it: MatchIt's subclasses of
# the propensity score with their effective sizes and balance; survey's Kaplan-Meier curve of a design with weights, and its jackknife,
# which leaves out one person after the other. Writes comparative_packages.csv. Run once: Rscript comparative_packages.R
suppressMessages({library(survival); library(survey); library(MatchIt)})
data <- read.csv("rotterdam.csv")
data$size <- factor(data$size, c("<=20", "20-50", ">50"))
data$month <- (data$days * 16 + 486) %/% 487
formula <- hormon ~ year + age + size + grade + nodes
score <- fitted(glm(formula, binomial, data, epsilon = 1e-12))
found <- NULL
add <- function(weights, arm, what, value) found <<- rbind(found, data.frame(weights, arm, what, value = sprintf("%.12g", value)))

# MatchIt's cuts are quantiles; at these shares of the order they are the scores at which our fifths begin.
n <- nrow(data)
places <- floor(1:4 * n / 5) / (n - 1)
fifths <- matchit(formula, data, method = "subclass", estimand = "ATE", distance = score, subclass = c(0, places, 1))
told <- summary(fifths, un = TRUE, standardize = TRUE, addlvariables = ~ chemo, data = data)
add("strata", 0, "effective", told$nn["Matched (ESS)", "Control"])
add("strata", 1, "effective", told$nn["Matched (ESS)", "Treated"])
rows <- c(year = "year", age = "age", size_le = "size<=20", size_mid = "size20-50", size_gt = "size>50", grade = "grade",
  nodes = "nodes", chemo = "chemo")
# MatchIt divides by the standard deviation of a sample (n - 1), and of a covariate of two values by that of its share.
for (name in names(rows)) {
  for (which in c("sum.all", "sum.across")) {
    row <- told[[which]]
    if (rows[[name]] %in% rownames(row))
      add(if (which == "sum.all") "none" else "strata", "", paste0("smd:", name), row[rows[[name]], "Std. Mean Diff."])
  }
}

own <- ifelse(data$hormon == 1, score, 1 - score)
cut <- ifelse(data$hormon == 1, pmin(pmax(score, 0.01), 0.99), 1 - pmin(pmax(score, 0.01), 0.99))
weights <- list(iptw = 1 / cut, overlap = 1 - own, strata = fifths$weights)
for (kind in names(weights)) for (arm in 0:1) {
  rows <- data$hormon == arm
  design <- svydesign(ids = ~1, weights = weights[[kind]][rows], data = data[rows, ])
  curve <- svykm(Surv(month, death) ~ 1, design)
  add(kind, arm, "risk", 1 - curve$surv[max(which(curve$time <= 60))])
  left <- withReplicates(as.svrepdesign(design, type = "JK1"), function(w, rows) {
    fit <- survfit(Surv(month, death) ~ 1, rows[w > 0, ], weights = w[w > 0], se.fit = FALSE)
    until <- c(fit$time[fit$time < 60], 60)
    height <- c(1, fit$surv[fit$time < 60])
    c(mean = sum(diff(c(0, until)) * height), risk = 1 - fit$surv[max(which(fit$time <= 60))])
  })
  add(kind, arm, "mean", coef(left)["mean"])
  add(kind, arm, "mean_se", SE(left)["mean"])
  add(kind, arm, "risk_se", SE(left)["risk"])
}
write.csv(found, "comparative_packages.csv", row.names = FALSE, quote = FALSE)
