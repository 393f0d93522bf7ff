//! `kf/get_corp_statistic` and `kf/get_servicer_statistic`: figures by day.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/95489> and
//! <https://developer.work.weixin.qq.com/document/path/95490>

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::answer::{Answer, LooseInt};
use super::field::required;
use super::{ApiError, Call, Client, FieldError, Problem};
use crate::id::{OpenKfid, ServicerUserid};

/// Longest stretch that is told at once.
const MOST_SECS: u64 = 31 * 24 * 60 * 60;

/// Which days of an account to tell about.
#[derive(Clone, Copy, Debug)]
pub struct StatisticDays<'a> {
    /// Account.
    pub open_kfid: &'a OpenKfid,
    /// First day: its midnight in China, in seconds since 1970; later moments are rounded down. At most 180 days ago.
    pub start_time: u64,
    /// Last day, itself included; at most 31 days after the first, and yesterday at the latest, whose figures are there
    /// from about 06:00 on.
    pub end_time: u64,
}

/// The figures of one day.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[non_exhaustive]
pub struct StatisticDay<T> {
    /// Its midnight in China, in seconds since 1970. WeCom's sample has it under another name than its table.
    #[serde(alias = "stat_date")]
    pub stat_time: u64,
    /// Its figures; `None` if there are none, or none yet.
    pub statistic: Option<T>,
}

/// Figures of an account.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct CorpStatistic {
    /// Sessions that reached a colleague.
    #[serde(deserialize_with = "count")]
    pub session_cnt: u64,
    /// Customers who wrote.
    #[serde(deserialize_with = "count")]
    pub customer_cnt: u64,
    /// Messages of customers.
    #[serde(deserialize_with = "count")]
    pub customer_msg_cnt: u64,
    /// Customers who were passed on to a person or a group of their own.
    #[serde(deserialize_with = "count")]
    pub upgrade_service_customer_cnt: u64,
    /// Sessions that WeCom's robot answered.
    #[serde(deserialize_with = "count")]
    pub ai_session_reply_cnt: u64,
    /// Share of those that went on to a colleague, 0–1.
    pub ai_transfer_rate: Option<f64>,
    /// Share of questions that the knowledge base answered, 0–1.
    pub ai_knowledge_hit_rate: Option<f64>,
    /// Customers whose messages a colleague no longer accepts.
    #[serde(deserialize_with = "count")]
    pub msg_rejected_customer_cnt: u64,
}

/// Figures of receptionists. Where the API manages sessions customers are not asked whether they were satisfied.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct ServicerStatistic {
    /// Sessions.
    #[serde(deserialize_with = "count")]
    pub session_cnt: u64,
    /// Customers who wrote.
    #[serde(deserialize_with = "count")]
    pub customer_cnt: u64,
    /// Messages of customers.
    #[serde(deserialize_with = "count")]
    pub customer_msg_cnt: u64,
    /// Share of customers who were answered, 0–1.
    pub reply_rate: Option<f64>,
    /// Seconds until the first answer, on average.
    pub first_reply_average_sec: Option<f64>,
    /// Customers who were asked whether they were satisfied. WeCom spells it so.
    #[serde(deserialize_with = "count")]
    pub satisfaction_investgate_cnt: u64,
    /// Share of those who answered, 0–1.
    pub satisfaction_participation_rate: Option<f64>,
    /// Share of satisfied answers, 0–1.
    pub satisfied_rate: Option<f64>,
    /// Share of middling answers, 0–1.
    pub middling_rate: Option<f64>,
    /// Share of dissatisfied answers, 0–1.
    pub dissatisfied_rate: Option<f64>,
    /// Customers who were passed on to a person or a group of their own.
    #[serde(deserialize_with = "count")]
    pub upgrade_service_customer_cnt: u64,
    /// Offers of a person.
    #[serde(deserialize_with = "count")]
    pub upgrade_service_member_invite_cnt: u64,
    /// Customers who accepted a person.
    #[serde(deserialize_with = "count")]
    pub upgrade_service_member_customer_cnt: u64,
    /// Offers of a group.
    #[serde(deserialize_with = "count")]
    pub upgrade_service_groupchat_invite_cnt: u64,
    /// Customers who joined a group.
    #[serde(deserialize_with = "count")]
    pub upgrade_service_groupchat_customer_cnt: u64,
    /// Customers whose messages a colleague no longer accepts.
    #[serde(deserialize_with = "count")]
    pub msg_rejected_customer_cnt: u64,
}

impl Client {
    /// Reads the figures of an account, day by day.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95489>
    pub async fn corp_statistic(&self, days: &StatisticDays<'_>) -> Result<Vec<StatisticDay<CorpStatistic>>, ApiError> {
        let call = Call::GetCorpStatistic;
        call.checked(check(days))?;
        self.post(call, &body(days), &[], read).await
    }

    /// Reads the figures of one receptionist, or of all of an account, day by day.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95490>
    pub async fn servicer_statistic(
        &self,
        days: &StatisticDays<'_>,
        servicer: Option<&ServicerUserid>,
    ) -> Result<Vec<StatisticDay<ServicerStatistic>>, ApiError> {
        let call = Call::GetServicerStatistic;
        call.checked(check(days))?;
        let mut body = body(days);
        if let Some(servicer) = servicer {
            call.checked(required("servicer_userid", servicer.as_str()))?;
            body["servicer_userid"] = servicer.as_str().into();
        }
        self.post(call, &body, &[], read).await
    }
}

fn check(days: &StatisticDays<'_>) -> Result<(), FieldError> {
    required("open_kfid", days.open_kfid.as_str())?;
    match days.end_time.checked_sub(days.start_time) {
        None => Err(FieldError::malformed("end_time", "lies before start_time")),
        Some(secs) if secs > MOST_SECS => {
            let problem = "lies more than 31 days after start_time";
            Err(FieldError::malformed("end_time", problem))
        }
        Some(_) => Ok(()),
    }
}

fn body(days: &StatisticDays<'_>) -> Value {
    json!({
        "open_kfid": days.open_kfid,
        "start_time": days.start_time,
        "end_time": days.end_time,
    })
}

#[derive(Deserialize)]
struct Body<T> {
    statistic_list: Vec<StatisticDay<T>>,
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<Vec<StatisticDay<T>>, Problem> {
    let body: Body<T> = answer.read()?;
    Ok(body.statistic_list)
}

/// Reads a count, which WeCom's tables call a number and other programs have met as a string.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let count = Option::<LooseInt>::deserialize(deserializer)?;
    Ok(count.map_or(0, |count| u64::try_from(count.0).unwrap_or_default()))
}
