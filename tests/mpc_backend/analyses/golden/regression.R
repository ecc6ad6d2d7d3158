# Golden numbers of linear and logistic regression, correlation and descriptions, by R's lm, glm and cor on MASS's data set birthwt
# (low birth weight, Baystate Medical Center) and on rotterdam.csv of this folder. Writes birthwt.csv (the data) and
# regression.csv. Run once: Rscript regression.R
library(MASS)
data <- with(birthwt, data.frame(low, age, lwt, race = c("white", "black", "other")[race], smoke, ptl, ht, ui, ftv, bwt))
write.csv(data, "birthwt.csv", row.names = FALSE, quote = FALSE)
rotterdam <- read.csv("rotterdam.csv")
rotterdam$size <- factor(rotterdam$size, levels = c("20-50", "<=20", ">50"))
data$race <- factor(data$race, levels = c("black", "other", "white"))
found <- NULL
add <- function(model, term, what, value)
  found <<- rbind(found, data.frame(model, term, what, value = sprintf("%.12g", value)))

describe <- function(name, fit, statistic) {
  table <- coef(summary(fit))
  limits <- if (statistic == "t") confint(fit) else confint.default(fit)
  for (term in rownames(table)) {
    for (k in 1:4) add(name, term, c("coef", "se", "statistic", "p")[k], table[term, k])
    for (k in 1:2) add(name, term, c("lower", "upper")[k], limits[term, k])
  }
}
linear <- function(name, formula, data) {
  fit <- lm(formula, data)
  describe(name, fit, "t")
  s <- summary(fit)
  add(name, "", "sigma", s$sigma); add(name, "", "r_squared", s$r.squared); add(name, "", "adjusted", s$adj.r.squared)
  add(name, "", "f", s$fstatistic[1]); add(name, "", "df", fit$df.residual)
  add(name, "", "f_p", pf(s$fstatistic[1], s$fstatistic[2], s$fstatistic[3], lower.tail = FALSE))
}
logistic <- function(name, formula, data) {
  fit <- glm(formula, binomial, data, epsilon = 1e-14, maxit = 50)
  describe(name, fit, "z")
  lr <- fit$null.deviance - fit$deviance
  add(name, "", "lr", lr); add(name, "", "lr_p", pchisq(lr, fit$df.null - fit$df.residual, lower.tail = FALSE))
}
linear("weight", bwt ~ age + lwt + race + smoke + ht + ui, data)
linear("weight_age", bwt ~ age, data)
logistic("low", low ~ age + lwt + race + smoke + ptl + ht + ui + ftv, data)
logistic("low_smoke", low ~ smoke, data)
logistic("chemo", chemo ~ year + age + size + grade + nodes, rotterdam)
linear("nodes", nodes ~ year + age + size + grade, rotterdam)

columns <- data[, c("age", "lwt", "bwt", "ftv")]
for (i in names(columns)) {
  add("correlation", i, "mean", mean(columns[, i])); add("correlation", i, "variance", var(columns[, i]))
  for (j in names(columns)) if (j > i) {
    test <- cor.test(columns[, i], columns[, j])
    pair <- paste(i, j)
    add("correlation", pair, "covariance", cov(columns[, i], columns[, j]))
    add("correlation", pair, "pearson", test$estimate)
    add("correlation", pair, "lower", test$conf.int[1]); add("correlation", pair, "upper", test$conf.int[2])
    add("correlation", pair, "p", test$p.value)
    add("correlation", pair, "spearman", suppressWarnings(cor(columns[, i], columns[, j], method = "spearman")))
  }
}

groups <- split(data, data$smoke)
for (g in names(groups)) for (v in c("age", "lwt", "bwt")) {
  x <- groups[[g]][, v]
  key <- paste(v, g)
  add("table", key, "n", length(x)); add("table", key, "mean", mean(x)); add("table", key, "sd", sd(x))
  for (q in c(0.25, 0.5, 0.75)) add("table", key, paste0("q", 100 * q), quantile(x, q))
}
smd <- function(x, y) (mean(y) - mean(x)) / sqrt((var(x) + var(y)) / 2)
for (v in c("age", "lwt", "bwt")) add("table", v, "smd", smd(groups[["0"]][, v], groups[["1"]][, v]))
levels_smd <- function(x, y, levels) { # Yang and Dalton, SAS Global Forum 2012
  p <- sapply(levels, function(l) mean(x == l)); q <- sapply(levels, function(l) mean(y == l))
  d <- (q - p)[-1]
  s <- function(p) diag(p, length(p)) - outer(p, p)
  sqrt(drop(t(d) %*% solve((s(p[-1]) + s(q[-1])) / 2) %*% d))
}
add("table", "race", "smd", levels_smd(groups[["0"]]$race, groups[["1"]]$race, levels(data$race)))
add("table", "ht", "smd", levels_smd(groups[["0"]]$ht, groups[["1"]]$ht, 0:1))
write.csv(found, "regression.csv", row.names = FALSE)
